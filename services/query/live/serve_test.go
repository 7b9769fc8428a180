package live

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/testkit"
	"github.com/millrace/millrace/services/query/access"
)

func TestServeEvents(t *testing.T) {
	r := newRig(t)
	r.publish(0, "0 before")
	testkit.Eventually(t, "the tail is there", func() bool { p := r.tail.Position(); return len(p) == 2 && p[0] == 1 })

	now := r.open("/v1/live", url.Values{}, "")
	if now.res.StatusCode != http.StatusOK || now.res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d %v", now.res.StatusCode, now.res.Header)
	}
	some := r.open("/v1/live", url.Values{"where": {`event contains "b"`}}, "")
	past := r.open("/v1/live", url.Values{"since": {"1h"}}, "")
	r.publish(0, "0 a", "0 b", "0 c")
	r.publish(1, "1 a", "1 b")
	now.want("0 a", "0 b", "0 c", "1 a", "1 b")
	some.want("0 b", "1 b")
	past.want("0 before", "0 a", "0 b", "0 c", "1 a", "1 b")

	// Who comes back with any id goes on behind that very event, also in the middle of a frame.
	var all []message
	again := r.open("/v1/live", url.Values{"after": {"0:0,1:0"}}, "")
	for range 6 {
		m, err := again.next()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	for i, m := range all {
		s := r.open("/v1/live", url.Values{"since": {"1h"}}, m.id)
		var want []string // the order between shards is open
		for _, m := range all[i+1:] {
			var e struct{ Event string }
			if err := json.Unmarshal([]byte(m.data), &e); err != nil {
				t.Fatal(err)
			}
			want = append(want, e.Event)
		}
		s.want(want...)
		s.cancel()
	}
	// The receipt of an event is a position too: the other shards begin now.
	s := r.open("/v1/live", url.Values{"after": {"0:1"}}, "")
	s.want("0 a", "0 b", "0 c")
	r.publish(1, "1 c")
	s.want("1 c")

	for query, want := range map[string]string{
		"where=nope":            "neither true nor false",
		"nope=1":                "unknown",
		"after=0:99":            "another installation",
		"after=7:1":             "2 shards",
		"after=0:1&since=1h":    "exclude",
		"since=yesterday":       "want a span",
		"source=a.b":            "not a letter",
		"where=true&where=true": "2 times",
	} {
		res, err := http.Get(r.base + "/v1/live?" + query)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.StatusCode != http.StatusBadRequest || !strings.Contains(string(text), want) {
			t.Errorf("%s: %d %s", query, res.StatusCode, text)
		}
	}

	// Everybody is told when the service stops, and where to go on.
	r.stop()
	for name, s := range map[string]*stream{"now": now, "past": past} {
		for {
			m, err := s.next()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if m.name == "" {
				continue
			}
			var bye End
			if err := json.Unmarshal([]byte(m.data), &bye); err != nil || m.name != "end" || bye.Code != "stopping" || bye.After != "0:2,1:2" {
				t.Errorf("%s: %+v %v", name, m, err)
			}
			break
		}
	}
}

// TestSources: a key sees its own sources, whatever it asks for.
func TestSources(t *testing.T) {
	r := newRig(t)
	r.publishOf("app", 0, "0 app")
	r.publishOf("web", 0, "0 web")
	r.key = access.NewKey("app", []string{"app"}, access.Live)
	s := r.open("/v1/live", url.Values{"since": {"1h"}, "where": {`source == "web" or true`}}, "")
	s.want("0 app")
	r.publishOf("web", 0, "0 web again")
	r.publishOf("app", 0, "0 app again")
	s.want("0 app again")
	for key, query := range map[*access.Key]string{
		access.NewKey("app", []string{"app"}, access.Live): "source=web",
		access.NewKey("sql", nil, access.SQL):              "",
	} {
		r.key = key
		s := r.open("/v1/live", url.Values{"source": {strings.TrimPrefix(query, "source=")}}, "")
		if s.res.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %d", key.Name(), s.res.StatusCode)
		}
	}
}

// TestSlow: a reader that does not keep up is told so, and goes on from there without missing anything.
func TestSlow(t *testing.T) {
	r := newRig(t, func(_ *rig, c *Config) { c.Slow, c.Stall = time.Millisecond, time.Minute })
	s := r.open("/v1/live", url.Values{}, "")
	const frames, each = 40, 50
	long := strings.Repeat("x", 8000) // more in all than a connection holds while nobody reads
	var want []string
	for i := range frames {
		var names []string
		for j := range each {
			names = append(names, fmt.Sprintf("0 %d %d %s", i, j, long))
		}
		r.publish(0, names...)
		want = append(want, names...)
	}
	var got []string
	farewells := 0
	for last := ""; len(got) < len(want); {
		m, err := s.next()
		if err != nil {
			t.Fatalf("the stream ended without a word after %d events: %v", len(got), err)
		}
		if m.name == "end" {
			var bye End
			if err := json.Unmarshal([]byte(m.data), &bye); err != nil || bye.Code != "slow" || last != "" && bye.After != last {
				t.Fatalf("after %s: %+v %v", last, m, err)
			}
			farewells++
			s = r.open("/v1/live", url.Values{}, bye.After)
			continue
		}
		last = m.id
		var e struct{ Event string }
		if err := json.Unmarshal([]byte(m.data), &e); err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Event)
	}
	if !slices.Equal(got, want) {
		t.Error("events are missing, doubled or out of order")
	}
	if farewells == 0 {
		t.Error("nobody was told")
	}
}

// TestGap: what the log no longer has is said, with its place.
func TestGap(t *testing.T) {
	r := newRig(t, func(r *rig, _ *Config) {
		for i := range 5 {
			r.publish(0, fmt.Sprintf("0 %d", i+1))
		}
		stream, err := r.js.Stream(t.Context(), r.inst.Names.StreamEnriched(0))
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Purge(t.Context(), jetstream.WithPurgeSequence(4)); err != nil {
			t.Fatal(err)
		}
	})
	s := r.open("/v1/live", url.Values{"after": {"0:1"}}, "")
	m, err := s.next()
	var g Gap
	if err != nil || m.name != "gap" || json.Unmarshal([]byte(m.data), &g) != nil || g.Shard != 0 || g.First != 2 || g.Last != 3 {
		t.Fatalf("%+v %v", m, err)
	}
	s.want("0 4", "0 5")
}

// TestPublish: events go out over NATS while somebody listens, source by source, and not while nobody does.
func TestPublish(t *testing.T) {
	r := newRig(t)
	nc := r.js.Conn()
	heard := make(chan *nats.Msg, 1000)
	var sub *nats.Subscription
	n := 0
	// The publisher has to take its lease, and notices within a second that somebody listens.
	testkit.Eventually(t, "an event is heard", func() bool {
		if sub == nil {
			var err error
			if sub, err = nc.ChanSubscribe(r.inst.Names.Live("web"), heard); err != nil {
				t.Fatal(err)
			}
		}
		n++
		r.publish(0, fmt.Sprintf("0 %d", n))
		select {
		case m := <-heard:
			var e struct{ Event, Receipt string }
			if err := json.Unmarshal(m.Data, &e); err != nil || m.Header.Get(HeaderPlace) != e.Receipt+":0" {
				t.Errorf("%s %v: %v", m.Data, m.Header, err)
			}
			return true
		case <-time.After(100 * time.Millisecond):
			return false
		}
	})
	// Now all are heard, in order, and none of another source.
	for i := range 50 {
		r.publish(0, fmt.Sprintf("0 x%d", i))
		r.publishOf("app", 0, "0 of app")
	}
	for i := 0; i < 50; {
		var e struct{ Event string }
		if err := json.Unmarshal((<-heard).Data, &e); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(e.Event, "0 x") {
			if e.Event != fmt.Sprintf("0 x%d", i) {
				t.Errorf("%s at %d", e.Event, i)
			}
			i++
		}
	}
	if err := sub.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
}
