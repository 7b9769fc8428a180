package ingester

import (
	"testing"
)

// TestInKeepsWhatIsNotAcknowledged: messages after it are stored and
// acknowledged, and nothing is purged past it.
func TestInKeepsWhatIsNotAcknowledged(t *testing.T) {
	n := startNATS(t)
	r := startRig(t, n).opened()
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	before := r.publish("web", good("u", 1))
	held := r.publish("web", good("u", 2))
	c, err := r.js.Consumer(t.Context(), r.names.StreamIn(), r.names.DurableIngester())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // somebody else has taken both, and is done with the first
		msg, err := c.Next()
		if err != nil {
			t.Fatal(err)
		}
		if meta, _ := msg.Metadata(); meta.Sequence.Stream == before {
			if err := msg.DoubleAck(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	last := r.publish("web", good("u", 3))
	again := startRig(t, n).opened()
	first := func() uint64 {
		s, err := r.js.Stream(t.Context(), r.names.StreamIn())
		if err != nil {
			t.Fatal(err)
		}
		return s.CachedInfo().State.FirstSeq
	}
	eventually(t, "the first is purged", func() bool { return first() > before })
	eventually(t, "the last is stored", func() bool { return len(again.raw()) == 1 })
	s, err := r.js.Stream(t.Context(), r.names.StreamIn())
	if err != nil {
		t.Fatal(err)
	}
	for _, seq := range []uint64{held, last} {
		if _, err := s.GetMsg(t.Context(), seq); err != nil {
			t.Errorf("message %d: %v", seq, err)
		}
	}
}
