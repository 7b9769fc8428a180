package enricher

import (
	"context"
	"math/rand/v2"
	"time"
)

// Retries wait 50 ms at first: invisible in a restart of NATS. They wait 2 s
// at last: a purge that makes room is noticed soon. Up to half of it is left
// out by chance: all shards wait for the same NATS. They end with their
// context, because a frame is never given up.
const (
	delayFirst = 50 * time.Millisecond
	delayLast  = 2 * time.Second
)

// delay is a growing wait; the zero value is ready.
type delay struct{ next time.Duration }

func (d *delay) first() bool { return d.next == 0 }
func (d *delay) reset()      { d.next = 0 }

// sleep waits; false when ctx ended it.
func (d *delay) sleep(ctx context.Context) bool {
	d.next = min(max(delayFirst, 2*d.next), delayLast)
	timer := time.NewTimer(d.next - rand.N(d.next/2)) //nolint:gosec // no secret
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
