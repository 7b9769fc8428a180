package ingester

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"image/gif"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/millrace/millrace/libs/bus/sources"
)

func TestPreflight(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	ask := []string{
		"Origin", "https://shop.example", "Access-Control-Request-Method", "POST",
		"Access-Control-Request-Headers", "authorization,x-retry-count,x-odd",
	}
	paths := []string{"/v1/events/", "/v1/cloudevents", "/v1/projects/k/settings", "/array/k/config", "//v1/batch"}
	for p := range newRoutes() {
		paths = append(paths, p, p+"/")
	}
	for _, p := range paths {
		a := r.ask("OPTIONS", p, "", ask...)
		h := a.Header
		if a.Status != 204 || len(a.Body) != 0 || h.Get("Access-Control-Allow-Origin") != "https://shop.example" || h.Get("Access-Control-Allow-Credentials") != "true" ||
			h.Get("Access-Control-Allow-Methods") != "GET, POST, OPTIONS" || h.Get("Access-Control-Allow-Headers") != "authorization,x-retry-count,x-odd" ||
			h.Get("Access-Control-Max-Age") != "7200" || h.Get("Vary") != "Origin" || h.Get("Access-Control-Allow-Private-Network") != "" {
			t.Errorf("%s: %d %v", p, a.Status, h)
		}
	}
	if h := r.ask("OPTIONS", "/e/", "", append(ask, "Access-Control-Request-Private-Network", "true")...).Header; h.Get("Access-Control-Allow-Private-Network") != "true" {
		t.Errorf("private network: %v", h)
	}
	if a := r.ask("OPTIONS", "/e/", ""); a.Status != 204 || a.Header.Get("Access-Control-Allow-Origin") != "" || a.Header.Get("Allow") == "" {
		t.Errorf("without an origin: %d %v", a.Status, a.Header)
	}
	if a := r.ask("OPTIONS", "/nothing", "", ask...); a.Status != 404 || a.Header.Get("Access-Control-Allow-Origin") == "" {
		t.Errorf("no such path: %d %v", a.Status, a.Header)
	}
	// A page whose name was made to point here.
	req, err := http.NewRequest("OPTIONS", "http://"+r.in.Addr()+"/e/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "evil.example"
	if a, err := whole(req); err != nil || a.Status != 403 {
		t.Errorf("DNS rebinding: %d %v", a.Status, err)
	}
}

// TestOriginsOfASource: a page of a stranger has no use of a key, and can read why.
func TestOriginsOfASource(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	store, err := sources.Open(t.Context(), r.js, r.names)
	if err != nil {
		t.Fatal(err)
	}
	key, hash := sources.NewKey(time.Now(), "")
	if _, err := store.Add(t.Context(), sources.Record{Name: "web", Keys: []sources.Key{hash}, Origins: []string{"https://shop.example"}}); err != nil {
		t.Fatal(err)
	}
	body := `{"writeKey":"` + key + `","batch":[` + good("u", 1) + `]}`
	eventually(t, "the source is known", func() bool { return r.send("/v1/b", body).Status == 200 })
	for _, c := range []struct {
		origin string
		want   int
	}{{"https://shop.example", 200}, {"", 200}, {"https://evil.example", 403}, {"null", 403}} {
		for _, path := range []string{"/v1/b", "/v1/b?writeKey=" + key} {
			var head []string
			if c.origin != "" {
				head = []string{"Origin", c.origin}
			}
			a := r.send(path, body, head...)
			if a.Status != c.want || c.want == 403 && (a.Problem.Code != "origin_not_allowed" || a.Header.Get("Access-Control-Allow-Origin") != c.origin) {
				t.Errorf("%s from %q: %d %s", path, c.origin, a.Status, a.Body)
			}
		}
	}
}

func TestPixels(t *testing.T) {
	n := startNATS(t)
	r := startRig(t, n, func(c *Config) { c.Hold = 300 * time.Millisecond }).opened()
	data := url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(`{"writeKey":"` + testKey + `","userId":"u1","event":"Opened"}`)))
	for _, path := range []string{"/v1/pixel/track?data=" + data, "/pixel/v1/track?writeKey=" + testKey + "&userId=u1&event=Opened"} {
		a := r.ask("GET", path, "").want(t, 200)
		if _, err := gif.Decode(bytes.NewReader(a.Body)); err != nil || a.Header.Get("Content-Type") != "image/gif" || a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v %v", path, a.Header, err)
		}
		if rows := r.fresh(); len(rows) != 1 || rows[0].Reason != "" {
			t.Errorf("%s: %+v", path, rows)
		}
		if a := r.ask("HEAD", path, "").want(t, 200); a.Header.Get("Content-Type") != "image/gif" || len(r.fresh()) != 0 {
			t.Errorf("HEAD %s: %v", path, a.Header)
		}
		if a := r.ask("POST", path, ""); a.Status != 405 {
			t.Errorf("POST %s: %d", path, a.Status)
		}
	}
	r.ask("GET", "/pixel/v1/track?writeKey=k-nobody&userId=u1&event=Opened", "").want(t, 401)
	n.stop()
	if a := r.ask("GET", "/v1/pixel/track?data="+data, "").want(t, 503); a.Header.Get("Content-Type") == "image/gif" || a.Header.Get("Cache-Control") == "no-store" {
		t.Errorf("a picture for what is not stored: %v", a.Header)
	}
	n.start()
}

func TestSettings(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	a := r.ask("GET", "/v1/projects/"+testKey+"/settings", "", "Origin", "https://shop.example", "X-Forwarded-Host", "collect.example", "X-Forwarded-Proto", "https").want(t, 200)
	want := `{"integrations":{"Segment.io":{"apiKey":"k-shop","apiHost":"` + r.in.Addr() + `/v1","protocol":"http",` +
		`"deliveryStrategy":{"strategy":"batching","config":{"size":10,"timeout":200}}}},"metrics":{"sampleRate":0}}` + "\n"
	if string(a.Body) != want || a.Header.Get("Content-Type") != "application/json" || a.Header.Get("Access-Control-Allow-Origin") == "" {
		t.Errorf("%v %s\nwant %s", a.Header, a.Body, want)
	}
	if a := r.ask("GET", "/v1/projects/k-nobody/settings", "").want(t, 404); a.Problem.Code != "not_found" {
		t.Errorf("%s", a.Body)
	}
	behind := startRig(t, startNATS(t), func(c *Config) {
		if err := c.TrustedProxies.Set("127.0.0.1"); err != nil {
			t.Fatal(err)
		}
	}).opened()
	for _, c := range []struct{ host, proto, want string }{
		{"evil.example, collect.example", "http, https", `"apiHost":"collect.example/v1","protocol":"https"`},
		{"collect.example:8443", "https", `"apiHost":"collect.example:8443/v1","protocol":"https"`},
		{`evil.example/"`, "javascript", `"apiHost":"` + behind.in.Addr() + `/v1","protocol":"http"`},
	} {
		a := behind.ask("GET", "/v1/projects/"+testKey+"/settings", "", "X-Forwarded-Host", c.host, "X-Forwarded-Proto", c.proto).want(t, 200)
		if !strings.Contains(string(a.Body), c.want) {
			t.Errorf("%+v: %s", c, a.Body)
		}
		vary := strings.Join(a.Header.Values("Vary"), ", ")
		if a.Header.Get("Cache-Control") != "private, max-age=60" || !strings.Contains(vary, "X-Forwarded-Host, X-Forwarded-Proto") || !strings.Contains(vary, "Origin") {
			t.Errorf("a shared cache may keep it for others: %v", a.Header)
		}
	}
}

func TestTheSnippetsScript(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	plain := r.ask("GET", "/analytics.js/v1/"+testKey+"/analytics.min.js", "", "Accept-Encoding", "identity").want(t, 200)
	if !strings.HasPrefix(string(plain.Body), fromHere) || !bytes.Contains(plain.Body, []byte("analytics-next/bundles/")) || plain.Header.Get("Content-Encoding") != "" {
		t.Errorf("%v %.200s", plain.Header, plain.Body)
	}
	packed := r.ask("GET", "/analytics.js/v1/"+testKey+"/analytics.min.js", "", "Accept-Encoding", "br, gzip;q=0.5").want(t, 200)
	zr, err := gzip.NewReader(bytes.NewReader(packed.Body))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(zr); err != nil || !bytes.Equal(got, plain.Body) || packed.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("packed: %v %v", packed.Header, err)
	}
	for _, a := range []answer{plain, packed} {
		h := a.Header
		if h.Get("Content-Type") != "text/javascript; charset=utf-8" || h.Get("ETag") == "" || h.Get("Cache-Control") != "public, max-age=3600" ||
			!slices.Contains(h.Values("Vary"), "Accept-Encoding") {
			t.Errorf("%v", h)
		}
	}
	if plain.Header.Get("ETag") == packed.Header.Get("ETag") {
		t.Error("two forms have one ETag")
	}
	for _, c := range []struct {
		accept, has string
		want        int
	}{
		{"identity", plain.Header.Get("ETag"), 304},
		{"gzip", "W/" + packed.Header.Get("ETag"), 304}, // of a proxy
		{"gzip", plain.Header.Get("ETag"), 200},
		{"identity", `"old"`, 200},
	} {
		a := r.ask("GET", "/analytics.js/v1/x/analytics.min.js", "", "Accept-Encoding", c.accept, "If-None-Match", c.has, "Range", "bytes=0-3").want(t, c.want)
		if h := a.Header; h.Get("Cache-Control") != "public, max-age=3600" || h.Get("ETag") == "" || (len(a.Body) > 0) != (c.want == 200) {
			t.Errorf("%+v: %v, %d bytes", c, h, len(a.Body))
		}
		if c.want == 200 && c.accept == "identity" && !bytes.Equal(a.Body, plain.Body) {
			t.Errorf("%+v: another script, %d bytes", c, len(a.Body))
		}
	}
	all, err := loadAssets()
	if err != nil || len(all) != 9 {
		t.Fatalf("%d scripts, %v", len(all), err)
	}
	for name := range all {
		want := 200
		if name == browserSDKScript {
			want = 404
		}
		if a := r.ask("GET", "/analytics-next/bundles/"+name, ""); a.Status != want {
			t.Errorf("%s: %d", name, a.Status)
		}
		// The script names its parts.
		if part, digest, ok := strings.Cut(strings.TrimSuffix(name, ".js"), ".bundle."); ok && !bytes.Contains(plain.Body, []byte(digest)) {
			t.Errorf("the script does not know part %s %s", part, digest)
		}
	}
	if a := r.ask("GET", "/analytics-next/bundles/x.bundle.js", ""); a.Status != 404 || a.Header.Get("Cache-Control") != "" {
		t.Errorf("%d %v", a.Status, a.Header)
	}
}

func TestPostHogIsToldThatThereIsNothingElse(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	a := r.ask("GET", "/array/"+testKey+"/config", "").want(t, 200)
	var config map[string]any
	if err := json.Unmarshal(a.Body, &config); err != nil || config["hasFeatureFlags"] != false || config["sessionRecording"] != false || config["surveys"] != nil {
		t.Errorf("%v %s", err, a.Body)
	}
	script := r.ask("GET", `/array/k%22%3C%2Fscript%3E/config.js`, "")
	if script.Status != 404 { // a name with a slash is none
		t.Errorf("%d", script.Status)
	}
	script = r.ask("GET", `/array/k%22%3Cscript%3E/config.js`, "").want(t, 200)
	if got := string(script.Body); strings.Contains(got, "<script>") || !strings.Contains(got, "_POSTHOG_REMOTE_CONFIG") || script.Header.Get("Content-Type") != "text/javascript; charset=utf-8" {
		t.Errorf("%s", got)
	}
	for _, path := range []string{"/flags/?v=2", "/decide/?v=4", "/flags?v=2&config=true"} {
		a := r.send(path, `{"token":"k","distinct_id":"u"}`).want(t, 200)
		var flags struct {
			Flags, FeatureFlags map[string]any
			Errors              bool `json:"errorsWhileComputingFlags"`
		}
		if err := json.Unmarshal(a.Body, &flags); err != nil || flags.Flags == nil || flags.FeatureFlags == nil || flags.Errors {
			t.Errorf("%s: %v %s", path, err, a.Body)
		}
	}
	r.send("/s/?compression=gzip-js", strings.Repeat("x", 6<<20)).want(t, 200)
	r.send("/v1/m", `{"series":[]}`).want(t, 200)
	if rows := r.fresh(); len(rows) != 0 {
		t.Errorf("%d rows", len(rows))
	}
}

// TestRequestIDs: the sender's own is repeated, one that is none is replaced.
func TestRequestIDs(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	seen := map[string]bool{}
	for _, c := range []struct{ given, want string }{{"req-1", "req-1"}, {"", ""}, {strings.Repeat("x", 129), ""}, {"", ""}} {
		a := r.send("/v1/events", "", "X-Request-Id", c.given, "X-Write-Key", testKey).want(t, 400)
		got := a.Header.Get("X-Request-Id")
		if got == "" || c.want != "" && got != c.want || c.want == "" && (got == c.given || len(got) > 16) || a.Problem.RequestID != got || seen[got] {
			t.Errorf("given %.20q: %q, %s", c.given, got, a.Body)
		}
		seen[got] = true
	}
}
