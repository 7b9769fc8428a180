package ingester

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"testing"
	"unicode/utf8"

	"github.com/millrace/millrace/libs/bus/sources"
	"github.com/millrace/millrace/libs/event"
)

// FuzzTongues sends bodies at the paths of SDKs through the door up to the packed frame: what is accepted is an event in the
// words of package event, what is turned away leaves nothing, and all memory that was counted is given back.
func FuzzTongues(f *testing.F) {
	paths := []route{
		{tongue: tongueSegment, path: "/v1/batch"},
		{tongue: tongueSegment, path: "/v1/p"},
		{tongue: tongueSegment, path: "/v1/pixel/track"},
		{tongue: tonguePostHog, path: "/batch"},
		{tongue: tonguePostHog, path: "/engage"},
		{tongue: tonguePostHog, path: "/e"},
		{tongue: tongueCloudEvents, path: pathCloudEvents},
	}
	for _, c := range speakers() {
		for n := range paths {
			f.Add(uint8(n), []byte(c.wrap(testKey, c.good, c.bad)), "application/json", "", "_=1")
			f.Add(uint8(n), []byte(gzipped(f, c.wrap(testKey, c.good))), "text/plain", "gzip", "data=e30&compression=base64")
			f.Add(uint8(n), []byte(c.good), "application/cloudevents+json", "", "")
		}
	}
	d := memoryDoor(f, 3, func(c *Config) { c.FrameBytes = 2_000; c.FrameEvents = 5 })
	scanner := event.NewScanner(d.limits)
	f.Fuzz(func(t *testing.T, n uint8, body []byte, contentType, encoding, query string) {
		to := paths[int(n)%len(paths)]
		r := httptest.NewRequest("POST", to.path, bytes.NewReader(body))
		if len(body) == 0 {
			r.Method = "GET"
		}
		r.URL.RawQuery = query
		r.Header.Set("Content-Type", contentType)
		r.Header.Set("Content-Encoding", encoding)
		a := asked{r: r, path: to.path, mapper: d.mappers[to.tongue], head: to.head(), from: origin{door: doorHTTP}}
		a.named = func(string) (*sources.Source, error) { return &sources.Source{Name: "shop"}, nil }
		h, err := d.store(&a)
		rows := d.drained(t)
		if used := d.budget.used.Load(); used != 0 {
			t.Fatalf("%d bytes are not given back", used)
		}
		if err != nil {
			if p := problemOf(err); len(rows) != 0 || p.Status < 400 || p.Status == 429 || p.Status > 499 {
				t.Fatalf("turned away with %d %v, %d rows are stored", p.Status, err, len(rows))
			}
			return
		}
		done := <-h.done
		var got answer
		text := closeAnswer(h.answer, done.receipt.String())
		if err := json.Unmarshal(text, &got); err != nil || !utf8.Valid(text) || done.err != nil {
			t.Fatalf("answer %q: %v %v", text, err, done.err)
		}
		if got.Accepted+len(got.Rejected) != len(rows) {
			t.Fatalf("answer %s, stored %d rows", text, len(rows))
		}
		for _, row := range rows {
			if row.Reason != "" {
				continue
			}
			if refusal := scanner.Scan([]byte(row.Body), new(event.Event)); refusal != nil {
				t.Fatalf("accepted %q: %v", row.Body, refusal)
			}
		}
	})
}
