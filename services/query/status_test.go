package query

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/millrace/millrace/libs/bus"
)

func (r *rig) status() Status {
	r.Helper()
	a := r.post("/v1/status", "", "", func(req *http.Request) { req.Method = http.MethodGet })
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/json" {
		r.Fatalf("status: %d %s", a.status, a.body)
	}
	var st Status
	if err := json.Unmarshal([]byte(a.body), &st); err != nil {
		r.Fatalf("%v: %s", err, a.body)
	}
	return st
}

func TestStatus(t *testing.T) {
	r := newRig(t, 3)
	st := r.status()
	want := InstallationStatus{Prefix: "millrace", Shards: 3, Sinks: 3, Incarnation: r.inst.Incarnation}
	if st.Installation != want || len(st.Shards) != 3 || time.Since(st.At).Abs() > time.Minute {
		t.Fatalf("a new installation: %+v", st)
	}
	for i, s := range st.Shards {
		if s.Shard != i || !s.Open || s.Note != "" || s.Accepted+s.Lag+s.Proven+s.Raw.Last != 0 || s.DedupWindow != nil || s.LagTime != 0 {
			t.Errorf("an empty shard: %+v", s)
		}
		if s.RawFill == nil || *s.RawFill != 0 || s.EnrichedFill == nil {
			t.Errorf("the fill of an empty shard: %+v", s)
		}
	}

	// Shard 0: 24 events proven, a frame of 12 enriched and not proven, one of 5 not enriched.
	l := r.lane(0)
	l.block(part{}, part{})
	l.frames(part{skip: true})
	l.rawFrame(0, 5, "x")
	s := r.status().Shards[0]
	if s.Accepted != 41 || s.Enriched != 36 || s.Indexed != 20 || s.Dead != 2 || s.Repeats != 2 || s.Lag != 17 || s.Estimated {
		t.Errorf("counts: %+v", s)
	}
	if s.Raw != (Range{1, 4}) || s.Enricher != 3 || s.Proven != 2 || !s.Open || s.LagTime <= 0 || s.LagTime > 600 {
		t.Errorf("places: %+v", s)
	}
	if s.DedupWindow == nil || *s.DedupWindow != 3600 || *s.RawFill <= 0 {
		t.Errorf("window and fill: %+v", s)
	}

	// Shard 1: the enricher has answered a RAW that is not there.
	l = r.lane(1)
	l.frames(part{frame: "of another life", skip: true})
	if s := r.status().Shards[1]; s.Open || s.Note == "" {
		t.Errorf("a log that went back: %+v", s)
	}
	// Shard 2: the ledger is ahead of ENRICHED.
	l = r.lane(2)
	l.announce(bus.Range{Shard: 2, First: 1, Last: 1})
	if s := r.status().Shards[2]; s.Open || s.Note == "" {
		t.Errorf("a ledger that is ahead: %+v", s)
	}

	_, err := r.js.Publish(t.Context(), r.inst.Names.In("shop"), []byte(`{}`))
	r.must(err)
	if in := r.status().Streams.In; in.Messages != 1 || in.Last != 1 || in.Bytes == 0 || in.Fill == nil {
		t.Errorf("IN: %+v", in)
	}
	if ledger := r.status().Streams.Ledger; ledger.Messages == 0 || ledger.Fill != nil {
		t.Errorf("LEDGER: %+v", ledger)
	}
}

// TestLongLag counts exactly as far as it may and says that the rest is estimated.
func TestLongLag(t *testing.T) {
	r := newRig(t, 1)
	const more = 1000
	msg := nats.NewMsg(r.inst.Names.Raw(0))
	msg.Header.Set(bus.HeaderEvents, "7")
	publish := func(n int) {
		for range n {
			_, err := r.js.PublishMsg(t.Context(), msg)
			r.must(err)
		}
	}
	publish(maxExact)
	if s := r.status().Shards[0]; s.Lag != 7*maxExact || s.Estimated {
		t.Errorf("at the limit: %+v", s)
	}
	publish(more)
	if s := r.status().Shards[0]; s.Lag != 7*(maxExact+more) || !s.Estimated || s.Accepted != s.Lag || s.Enriched != 0 {
		t.Errorf("past the limit: %+v", s)
	}
	// A frame without a count is none, not an error.
	if n := eventsOf(nats.Header{bus.HeaderEvents: {"many"}}); n != 1 {
		t.Errorf("%d events", n)
	}
}
