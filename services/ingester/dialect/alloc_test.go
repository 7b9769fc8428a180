//go:build !race

package dialect

import (
	"testing"

	"github.com/millrace/millrace/libs/event"
)

// TestAllocationsOfABatch guards the common case: the batches of server SDKs
// cost the list of their events and the write key, however many there are.
// scripts/test runs it without the race detector, under which allocations are
// others.
func TestAllocationsOfABatch(t *testing.T) {
	m := NewSegment(event.DefaultLimits())
	r := &Request{Path: "/v1/batch", Body: batchOf(benchNode, 100, `,"writeKey":"wk","sentAt":"2026-03-01T09:31:02.000Z"`)}
	n := testing.AllocsPerRun(50, func() {
		mapped, err := m.Map(r)
		if err != nil || len(mapped.Events) != 100 {
			t.Fatal(len(mapped.Events), err)
		}
		for i := range mapped.Events {
			if x := &mapped.Events[i]; &x.Canonical[0] != &x.Original[0] {
				t.Fatal("it was copied")
			}
		}
	})
	if n > 3 {
		t.Errorf("100 events take %v allocations, want 3 at most", n)
	}
}
