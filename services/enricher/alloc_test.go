//go:build !race

package enricher

import (
	"testing"
	"time"
)

// TestAllocationsOfAFrame guards the hot path: what a frame allocates does not
// grow with its events, and is little. scripts/test runs it without the race
// detector, under which allocations are others.
func TestAllocationsOfAFrame(t *testing.T) {
	perFrame := func(events int) float64 {
		m := newTestMill(1 << 20)
		m.seen = newDedup(newDedupKey(), 10*time.Minute, 64<<20)
		var bodies [16][]byte
		for n := range bodies {
			var all []sent
			for i := range events {
				all = append(all, sent{body: benchEvent(n*events + i), ip: "203.0.113.9"})
			}
			bodies[n] = rawBody(all...)
		}
		var out []byte
		f, n := &rawFrame{received: received}, 0
		next := func() {
			f.seq, f.body = uint64(n+1), bodies[n%len(bodies)]
			// Ids occur again after 16 frames; the window is over by then.
			f.received = f.received.Add(time.Minute)
			body, v := m.enrich(f, out, nil)
			if v.Rows != events {
				t.Fatalf("frame %d of %d events has %d rows", n, events, v.Rows)
			}
			out = body
			n++
		}
		for range 2 * len(bodies) {
			next() // buffers grow, caches fill
		}
		return testing.AllocsPerRun(50, next)
	}
	few, many := perFrame(10), perFrame(500)
	if few > 2 || many > few+1 {
		t.Errorf("a frame of 10 events takes %v allocations and one of 500 takes %v, want at most 2 and no more for more events", few, many)
	}
}
