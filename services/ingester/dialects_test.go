package ingester

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/libs/event"
)

// speaker is one dialect: where it sends, and how it wraps events and its key.
type speaker struct {
	name, path string
	header     []string
	good       string // an event
	bad        string // one that is refused
	reason     string
	wrap       func(key string, events ...string) string
	keyless    bool // the body shows no key
	head       string
	tooLarge   int
}

const sentAtText = "2026-01-02T03:04:05.678Z"

var sentAtMillis = time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC).UnixMilli()

func speakers() []speaker {
	segment := func(key string, events ...string) string {
		return fmt.Sprintf(`{"writeKey":%q,"sentAt":%q,"batch":[%s]}`, key, sentAtText, strings.Join(events, ","))
	}
	posthog := func(key string, events ...string) string {
		return fmt.Sprintf(`{"api_key":%q,"sent_at":%q,"batch":[%s]}`, key, sentAtText, strings.Join(events, ","))
	}
	list := func(_ string, events ...string) string { return "[" + strings.Join(events, ",") + "]" }
	cloud := `{"specversion":"1.0","id":"c-1","source":"/shop","type":"order","subject":"u1","data":{"total":9.5}}`
	return []speaker{
		{"events", "/v1/events", nil, good("u1", 1), `{"event":"e"}`, "no_user", list, true, `{"accepted":`, 413},
		{"segment", "/v1/batch", nil, good("u1", 1), `{"type":"track","event":"e"}`, "no_user", segment, false, `{"success":true,"accepted":`, 400},
		{"segment, browser", "/v1/b", []string{"Content-Type", "text/plain"}, good("u1", 1), `{"type":"sing","userId":"u"}`, "bad_type", segment, false, `{"success":true,"accepted":`, 400},
		{"rudderstack", "/v1/batch/", []string{"Content-Type", "application/x-www-form-urlencoded"}, good("u1", 1), `[]`, "not_an_object", segment, false, `{"success":true,"accepted":`, 400},
		{
			"posthog", "/batch/", nil, `{"event":"e1","distinct_id":"u1","properties":{"n":1}}`, `{"event":"e1","properties":{}}`, "no_user", posthog, false,
			`{"status":1,"accepted":`, 413,
		},
		{
			"posthog, browser", "/e/?ip=0&_=1767323045678&ver=1.449.2",
			[]string{"Content-Type", "text/plain"},
			`{"event":"e1","distinct_id":"u1","properties":{"n":1}}`, `7`, "not_an_object", posthog, false, `{"status":1,"accepted":`, 413,
		},
		{
			"cloudevents", "/v1/cloudevents",
			[]string{"Content-Type", "application/cloudevents-batch+json"},
			cloud,
			`{"specversion":"1.0"}`, "", list, true, `{"accepted":`, 413,
		},
		{
			"cloudevents at events", "/v1/events",
			[]string{"Content-Type", "application/cloudevents-batch+json; charset=utf-8"},
			cloud,
			`{"specversion":"1.0"}`, "", list, true, `{"accepted":`, 413,
		},
	}
}

// send posts a body to a path; header is pairs of names and values.
func (r *rig) send(path, body string, header ...string) answer {
	r.t.Helper()
	return r.ask(http.MethodPost, path, body, header...)
}

func (r *rig) ask(method, path, body string, header ...string) answer {
	r.t.Helper()
	req, err := http.NewRequest(method, "http://"+r.in.Addr()+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	a, err := whole(req)
	if err != nil {
		r.t.Fatal(err)
	}
	return a
}

// whole is do for answers that may be no JSON.
func whole(req *http.Request) (answer, error) {
	a, err := do(req)
	if _, ok := errors.AsType[*json.SyntaxError](err); ok {
		err = nil
	}
	return a, err
}

// headers is the header of a speaker with a key, where its body has none.
func (c *speaker) headers(key string, more ...string) []string {
	h := append([]string{"Origin", "https://shop.example"}, c.header...)
	if c.keyless {
		h = append(h, "X-Write-Key", key)
	}
	return append(h, more...)
}

func TestEveryDialect(t *testing.T) {
	n := startNATS(t)
	r := startRig(t, n, func(c *Config) { c.Hold = 300 * time.Millisecond }).opened()
	browser := func(t *testing.T, a answer) {
		t.Helper()
		h := a.Header
		if h.Get("Access-Control-Allow-Origin") != "https://shop.example" || h.Get("Access-Control-Allow-Credentials") != "true" ||
			!strings.Contains(h.Get("Access-Control-Expose-Headers"), "Retry-After") || !strings.Contains(strings.Join(h.Values("Vary"), ","), "Origin") {
			t.Errorf("a page cannot read the answer: %v", h)
		}
		if h.Get("X-Request-Id") == "" {
			t.Error("no request id")
		}
	}
	problem := func(t *testing.T, a answer, status int, code string) {
		t.Helper()
		a.want(t, status)
		browser(t, a)
		if a.Problem.Code != code || a.Problem.Status != status || a.Problem.Title != http.StatusText(status) || a.Problem.RequestID != a.Header.Get("X-Request-Id") ||
			a.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %s", code, a.Body)
		}
		if rows := r.fresh(); len(rows) != 0 {
			t.Errorf("%s: %d rows", code, len(rows))
		}
	}
	for _, c := range speakers() {
		t.Run(c.name, func(t *testing.T) {
			a := r.send(c.path, c.wrap(testKey, c.good), c.headers(testKey)...).want(t, 200)
			browser(t, a)
			rows := r.fresh()
			if a.Accepted != 1 || len(a.Rejected) != 0 || len(rows) != 1 || rows[0].Reason != "" || rows[0].Source != "shop" || a.Receipt != receiptOf(rows) {
				t.Fatalf("%s: %+v", a.Body, rows)
			}
			if !strings.HasPrefix(string(a.Body), c.head) || a.Header.Get("Content-Type") != "application/json" {
				t.Errorf("answer %s", a.Body)
			}
			var want int64
			if !c.keyless {
				want = sentAtMillis
			}
			if rows[0].SentAt != want {
				t.Errorf("sent at %d, want %d", rows[0].SentAt, want)
			}
			if refusal := event.NewScanner(event.DefaultLimits()).Scan([]byte(rows[0].Body), new(event.Event)); refusal != nil {
				t.Errorf("RAW has %s: %v", rows[0].Body, refusal)
			}

			a = r.send(c.path, gzipped(t, c.wrap(testKey, c.good, c.bad, strings.Replace(c.good, "u1", "u2", 1))), c.headers(testKey)...).want(t, 200)
			rows = r.fresh()
			if a.Accepted != 2 || len(a.Rejected) != 1 || a.Rejected[0].Index != 1 || !strings.HasPrefix(a.Rejected[0].Reason, c.reason) || len(rows) != 3 {
				t.Fatalf("a bad event among good ones: %s: %+v", a.Body, rows)
			}
			kept := 0
			for _, row := range rows {
				if row.Reason != "" && row.Body == c.bad {
					kept++
				}
			}
			if kept != 1 {
				t.Errorf("the bad event is not kept as it came: %+v", rows)
			}

			a = r.send(c.path, c.wrap("k-nobody", c.good), c.headers("k-nobody")...)
			if problem(t, a, 401, "unknown_write_key"); a.Header.Get("WWW-Authenticate") == "" {
				t.Error("401 without WWW-Authenticate")
			}
			problem(t, r.send(c.path, c.wrap(testKey, c.good)+strings.Repeat(" ", event.DefaultLimits().MaxRequest), c.headers(testKey)...), c.tooLarge, "body_too_large")
			problem(t, r.send(c.path, gzipped(t, c.wrap(testKey, c.good)+strings.Repeat(" ", 8<<20)), c.headers(testKey)...), c.tooLarge, "body_too_large")
			problem(t, r.send(c.path, c.wrap(testKey, many(10_001)[1:len(many(10_001))-1]), c.headers(testKey)...), c.tooLarge, "too_many_events")
			problem(t, r.send(c.path, c.wrap(testKey, c.good)[1:], c.headers(testKey, "X-Write-Key", testKey)...), 400, "unreadable_body")
			problem(t, r.send(c.path, "", c.headers(testKey, "X-Write-Key", testKey)...), 400, "unreadable_body")
		})
	}
	eventually(t, "memory is given back", func() bool { return r.in.budget.used.Load() == 0 })
	n.stop()
	for _, c := range speakers() {
		a := r.send(c.path, c.wrap(testKey, c.good), c.headers(testKey)...).want(t, 503)
		browser(t, a)
		if a.Problem.Code != "not_acknowledged" || a.Header.Get("Retry-After") != "1" {
			t.Errorf("%s while NATS is away: %v %s", c.name, a.Header, a.Body)
		}
	}
	n.start()
}

// TestWhereAKeyMayStand: for every dialect in a header or the query, and for those that have it in the body.
func TestWhereAKeyMayStand(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(testKey+":"))
	for _, c := range speakers() {
		for _, way := range []struct {
			query string
			head  []string
			body  string
			want  int
		}{
			{"", []string{"X-Write-Key", testKey}, "", 200},
			{"", []string{"Authorization", basic}, "", 200},
			{"", []string{"Authorization", "Bearer " + testKey}, "", 200},
			{"writeKey=" + testKey, nil, "", 200},
			{"api_key=" + testKey, nil, "", 200},
			{"token=" + testKey, nil, "", 200},
			{"token=k-nobody", nil, "", 401},
			{"writeKey=" + testKey, []string{"Authorization", "Bearer of another service"}, "", 200},
			{"", []string{"Authorization", "Bearer of another service"}, testKey, 200}, // of those with a key in the body
			{"", nil, "", 401},
		} {
			want := way.want
			if way.body != "" && c.keyless {
				want = 401
			}
			path := c.path
			if way.query != "" {
				path += map[bool]string{true: "&", false: "?"}[strings.Contains(path, "?")] + way.query
			}
			if a := r.send(path, c.wrap(way.body, c.good), append(way.head, c.header...)...); a.Status != want {
				t.Errorf("%s with %+v: %d %s", c.name, way, a.Status, a.Body)
			}
		}
	}
	// PostHog's SDKs call the time of sending _, which is no key.
	if a := r.send("/v1/batch?_="+testKey, `{"batch":[`+good("u", 1)+`]}`); a.Status != 200 {
		t.Errorf("as _: %d %s", a.Status, a.Body)
	}
}

func TestRequestsAreCountedByDialect(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	for _, c := range speakers() {
		r.send(c.path, c.wrap(testKey, c.good), c.headers(testKey, "X-Retry-Count", "2")...).want(t, 200)
	}
	r.send("/nothing", "", "X-Retry-Count", "0").want(t, 404)
	for to, want := range map[tongue]float64{tongueEvents: 1, tongueSegment: 3, tonguePostHog: 2, tongueCloudEvents: 2, tongueOther: 0} {
		if got := counterValue(r.in.m.retried[to]); got != want {
			t.Errorf("%s: %v repetitions, want %v", to, got, want)
		}
		if got := counterValue(r.in.m.requests[to][200]); got != want {
			t.Errorf("%s: %v requests, want %v", to, got, want)
		}
	}
	if got := counterValue(r.in.m.requests[tongueOther][404]); got != 1 {
		t.Errorf("%v of no path", got)
	}
}

func TestForms(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	form := []string{"Content-Type", "application/x-www-form-urlencoded"}
	one := `{"event":"e1","distinct_id":"u1","api_key":"` + testKey + `","properties":{}}`
	packed := base64.StdEncoding.EncodeToString([]byte(one))
	for name, body := range map[string]string{
		"JSON under a form's label": one,
		"data":                      "data=" + packed + "&compression=base64",
		"gzip":                      gzipped(t, one),
	} {
		if a := r.send("/capture/", body, form...).want(t, 200); a.Accepted != 1 {
			t.Errorf("%s: %s", name, a.Body)
		}
	}
	if a := r.ask("GET", "/e/?compression=base64&data="+strings.NewReplacer("+", "%2B", "/", "%2F", "=", "%3D").Replace(packed), "").want(t, 200); a.Accepted != 1 {
		t.Errorf("in the address: %s", a.Body)
	}
	rows := r.fresh()
	if len(rows) != 4 {
		t.Errorf("%d rows", len(rows))
	}
	if a := r.ask("HEAD", "/e/?compression=base64&data="+packed, "").want(t, 200); len(a.Body) != 0 || len(r.fresh()) != 0 {
		t.Errorf("HEAD stores something")
	}
}
