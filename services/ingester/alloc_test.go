//go:build !race

package ingester

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/libs/event"
)

// TestAllocationsOfARequest guards the hot path: what a request allocates does
// not grow with its events. scripts/test runs it without the race detector,
// under which pools forget things on purpose.
func TestAllocationsOfARequest(t *testing.T) {
	d := memoryDoor(t, 2)
	in := newIntake(event.DefaultLimits(), 2)
	perRequest := func(events int) float64 {
		var all []string
		for i := range events {
			all = append(all, fmt.Sprintf(benchEvent, i, i%977))
		}
		body := []byte("[" + strings.Join(all, ",") + "]")
		return testing.AllocsPerRun(50, func() {
			in.start(origin{door: doorHTTP, source: "shop", ip: "192.0.2.7", userAgent: "bench"})
			if err := in.read(body); err != nil {
				t.Fatal(err)
			}
			if err := d.put(in, time.Now().Add(time.Hour), ignore); err != nil {
				t.Fatal(err)
			}
			for _, l := range d.lanes { // what the lane's goroutine does, without NATS
				for {
					p, _, _ := l.next(inAnHour)
					if p == nil {
						break
					}
					l.finish(p, 1, nil)
				}
			}
		})
	}
	perRequest(500) // buffers grow
	few, many := perRequest(10), perRequest(500)
	if few > 6 || many > few+3 {
		t.Errorf("a request of 10 events takes %v allocations and one of 500 takes %v, want at most 6 and three more", few, many)
	}
}
