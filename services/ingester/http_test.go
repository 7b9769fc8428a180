package ingester

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"

	"github.com/millrace/millrace/libs/event"
)

func gzipped(t testing.TB, body string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(body)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func zlibbed(t testing.TB, body string) string {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	if _, err := w.Write([]byte(body)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func deflated(t testing.TB, body string) string {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.DefaultCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(body)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func zstded(t testing.TB, body string) string {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return string(w.EncodeAll([]byte(body), nil))
}

func TestEveryFormOfABodyReachesRaw(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	one, two := good("u1", 1), good("u2", 2)
	plain := `{"user_id":"u1","event_type":"order","event_data":{"total":9.5}}`
	for _, c := range []struct {
		name   string
		body   string
		header []string
		want   []string
	}{
		{"one event", one, nil, []string{one}},
		{"white space around", " \r\n" + one + "\n\t", nil, []string{one}},
		{"byte order mark", "\xEF\xBB\xBF" + one, nil, []string{one}},
		{"plain form", plain, nil, []string{plain}},
		{"array", "[" + one + " ,\n" + two + "]", nil, []string{one, two}},
		{"ndjson by a second value", one + "\n" + two, nil, []string{one, two}},
		{"ndjson with blank lines", "\n" + one + "\n \n\n" + two + "\r\n", []string{"Content-Type", "application/x-ndjson"}, []string{one, two}},
		{"form content type, as some SDKs send", one, []string{"Content-Type", "application/x-www-form-urlencoded"}, []string{one}},
		{"gzip", gzipped(t, one), []string{"Content-Encoding", "gzip"}, []string{one}},
		{"zstd", zstded(t, one), []string{"Content-Encoding", "ZSTD"}, []string{one}},
		{"gzip that nobody announced", gzipped(t, one), []string{"Content-Type", "text/plain"}, []string{one}},
		{"zstd that nobody announced", zstded(t, one), nil, []string{one}},
		{"identity", one, []string{"Content-Encoding", "identity"}, []string{one}},
		{"a gzip label left on plain JSON", one, []string{"Content-Encoding", "gzip"}, []string{one}},
		{"an unknown label on plain JSON", " [" + one + "]", []string{"Content-Encoding", "br"}, []string{one}},
		{"gzip with another label", gzipped(t, one), []string{"Content-Encoding", "zstd"}, []string{one}},
		{"deflate", zlibbed(t, one), []string{"Content-Encoding", "deflate"}, []string{one}},
		{"deflate that nobody announced", zlibbed(t, one), nil, []string{one}},
		{"deflate without zlib's frame", deflated(t, one), []string{"Content-Encoding", "deflate"}, []string{one}},
		{"empty array", " [ ] ", nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := r.post(c.body, c.header...).want(t, http.StatusOK)
			if a.Accepted != len(c.want) || len(a.Rejected) != 0 || !bytes.Contains(a.Body, []byte(`"rejected":[]`)) {
				t.Errorf("answer %s", a.Body)
			}
			rows := r.fresh()
			if got := bodies(rows); !slices.Equal(got, c.want) {
				t.Errorf("RAW has %q, want %q", got, c.want)
			}
			if a.Receipt != receiptOf(rows) {
				t.Errorf("receipt %q, RAW has %q", a.Receipt, receiptOf(rows))
			}
		})
	}
}

func TestARowHoldsWhatTheDoorKnows(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	withID := `{"event":"e","userId":"u","messageId":"m-1"}`
	withoutID := `{"event":"e","userId":"u"}`
	noUser := `{"event":"e"}`
	a := r.post("["+withID+","+withoutID+","+noUser+"]", "User-Agent", "shop/1 \xff", "X-Request-Id", "req-7").want(t, http.StatusOK)
	if got := a.Header.Get("X-Request-Id"); got != "req-7" {
		t.Errorf("request id %q", got)
	}
	if a.Accepted != 2 || len(a.Rejected) != 1 || a.Rejected[0].Index != 2 || !strings.HasPrefix(a.Rejected[0].Reason, "no_user: ") {
		t.Errorf("answer %s", a.Body)
	}
	rows := r.fresh()
	if len(rows) != 3 {
		t.Fatalf("rows %+v", rows)
	}
	ids := map[string]bool{}
	for _, row := range rows {
		if row.Source != "shop" || row.Door != "http" || row.IP != "127.0.0.1" || row.UserAgent != "shop/1 " || row.InSeq != 0 {
			t.Errorf("row %+v", row)
		}
		if row.FrameID == "" || row.FrameID != row.MsgID || row.Codec != "1" {
			t.Errorf("headers %+v", row)
		}
		user := "u"
		switch row.Body {
		case withID:
			if row.ID != "" || row.Reason != "" {
				t.Errorf("row %+v", row)
			}
		case withoutID:
			if len(row.ID) != 36 || row.Reason != "" {
				t.Errorf("row %+v", row)
			}
		case noUser:
			user = ""
			if len(row.ID) != 36 || row.Reason != string(event.ReasonNoUser) || row.Detail == "" {
				t.Errorf("row %+v", row)
			}
		}
		if want := event.ShardOf("shop", []byte(user), 2); row.Shard != want {
			t.Errorf("shard %d, want %d", row.Shard, want)
		}
		ids[row.ID] = true
	}
	if len(ids) != 3 {
		t.Errorf("ids are not distinct: %v", ids)
	}
	if a.Receipt != receiptOf(rows) {
		t.Errorf("receipt %s, RAW has %s", a.Receipt, receiptOf(rows))
	}
}

func TestAnIdempotencyKeyGivesTheSameIDsAgain(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	lines := "{\"event\":\"e\",\"userId\":\"u\"}\n{\"broken\":tru}\n"
	for range 2 {
		a := r.post(lines, "Idempotency-Key", "file:1", "Content-Type", "application/x-ndjson").want(t, http.StatusOK)
		if a.Accepted != 1 || len(a.Rejected) != 1 {
			t.Fatalf("answer %s", a.Body)
		}
	}
	r.post("not json \xff", "Idempotency-Key", "file:2", "Millrace-Refused", "line 7 is no log line").want(t, http.StatusOK)
	count := map[string]int{}
	for _, row := range r.raw() {
		count[row.ID]++
		if row.Reason == "declared" && (row.Body != "not json \xff" || row.Detail != "line 7 is no log line") {
			t.Errorf("declared row %+v", row)
		}
	}
	want := map[string]int{event.KeyedID("shop", "file:1", 0): 2, event.KeyedID("shop", "file:1", 1): 2, event.KeyedID("shop", "file:2", 0): 1}
	if fmt.Sprint(count) != fmt.Sprint(want) {
		t.Errorf("ids %v, want %v", count, want)
	}
}

func TestADeclaredBodyIsKeptAsItIs(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	packed := gzipped(t, "zipped log line")
	for _, c := range []struct {
		body   string
		header []string
		want   string
	}{
		{"[{},\n{}]", nil, "[{},\n{}]"},
		{packed, nil, packed}, // bytes that happen to look compressed are the original
		{packed, []string{"Content-Encoding", "gzip"}, "zipped log line"},
		{strings.Repeat("x", 100_000), nil, strings.Repeat("x", 100_000)}, // over the limit of an event
	} {
		a := r.post(c.body, append([]string{"Millrace-Refused", "bad\tline"}, c.header...)...).want(t, http.StatusOK)
		if a.Accepted != 0 || len(a.Rejected) != 1 || a.Rejected[0].Reason != "declared: bad line" || a.Receipt == "" {
			t.Errorf("answer %s", a.Body)
		}
		if rows := r.fresh(); len(rows) != 1 || rows[0].Body != c.want {
			t.Errorf("RAW does not have the body")
		}
	}
	r.post("", "Millrace-Refused", "nothing").want(t, http.StatusBadRequest)
}

func TestWriteKeys(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	basic := func(user, pass string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+pass))
	}
	for _, c := range []struct {
		name   string
		header []string
		source string
	}{
		{"own header", []string{"X-Write-Key", testKey}, "shop"},
		{"basic", []string{"Authorization", basic(testKey, "")}, "shop"},
		{"basic with a password", []string{"Authorization", basic("k-app", "x")}, "app"},
		{"bearer", []string{"Authorization", "bearer k-app"}, "app"},
		{"none", nil, ""},
		{"unknown", []string{"X-Write-Key", "k-sho"}, ""},
		{"key as password", []string{"Authorization", basic("", testKey)}, ""},
		{"empty bearer", []string{"Authorization", "Bearer "}, ""},
		{"another scheme", []string{"Authorization", "Digest " + testKey}, ""},
		{"not base64", []string{"Authorization", "Basic %%%"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			req, err := http.NewRequest(http.MethodPost, "http://"+r.in.Addr()+pathEvents, strings.NewReader(good("u", 1)))
			if err != nil {
				t.Fatal(err)
			}
			for i := 0; i < len(c.header); i += 2 {
				req.Header.Set(c.header[i], c.header[i+1])
			}
			a, err := do(req)
			if err != nil {
				t.Fatal(err)
			}
			rows := r.fresh()
			if c.source == "" {
				a.want(t, http.StatusUnauthorized)
				if len(rows) != 0 || a.Problem.Code != "unknown_write_key" || a.Header.Get("Content-Type") != "application/problem+json" ||
					a.Header.Get("WWW-Authenticate") == "" {
					t.Errorf("%d rows, %s", len(rows), a.Body)
				}
				return
			}
			a.want(t, http.StatusOK)
			if len(rows) != 1 || rows[0].Source != c.source {
				t.Errorf("rows %+v, want one of %s", rows, c.source)
			}
		})
	}
}

func TestOnlyThisMachineByItsOwnName(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	for host, want := range map[string]int{
		"localhost": 200, "LOCALHOST:99": 200, "127.0.0.1": 200, "127.0.0.1:1": 200, "[::1]": 200, "[::1]:8080": 200,
		"evil.example": 403, "evil.example:8080": 403, "localhost.evil.example": 403, "10.0.0.1": 403, "127.0.0.1.nip.io": 403,
	} {
		if a := r.post(good("u", 1), "Host", host); a.Status != want || (want == 403 && a.Problem.Code != "unknown_host") {
			t.Errorf("host %s: %d %s", host, a.Status, a.Body)
		}
	}
	open := startRig(t, startNATS(t), func(c *Config) { c.Addr = "0.0.0.0:0" }).opened()
	if a := open.post(good("u", 1), "Host", "collect.example"); a.Status != 200 {
		t.Errorf("listening for all: %d %s", a.Status, a.Body)
	}
}

func TestOtherPathsAndMethods(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	for _, c := range []struct {
		method, path string
		want         int
		code         string
	}{
		{"GET", "/v1/events", 405, "method_not_allowed"},
		{"PUT", "/v1/events", 405, "method_not_allowed"},
		{"POST", "/", 404, "not_found"},
		{"POST", "/v1/event", 404, "not_found"},
		{"GET", "/v1/events/x", 404, "not_found"},
		{"POST", "/v1/events/", 200, ""},
	} {
		req, err := http.NewRequest(c.method, "http://"+r.in.Addr()+c.path, strings.NewReader(good("u", 1)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Write-Key", testKey)
		a, err := do(req)
		if err != nil {
			t.Fatal(err)
		}
		if a.Status != c.want || a.Problem.Code != c.code || (c.want == 405 && a.Header.Get("Allow") != "OPTIONS, POST") {
			t.Errorf("%s %s: %d %s", c.method, c.path, a.Status, a.Body)
		}
	}
}
