package indexer

import (
	"context"
	"time"

	"github.com/millrace/millrace/libs/failpoint"
)

// pace says when a batch is cut. A quiet sink's is cut soon, so that rows are
// visible soon; a busy one's later, because ClickHouse pays for every insert
// and for every part that it must merge (docs/decisions/0004-sinks.md).
type pace struct {
	minAge, maxAge time.Duration
	maxRows        int
	maxBytes       int
}

// Up to quietRows a second of one sink its batches wait for minAge, from
// busyRows on for maxAge, in between in proportion. Few rows are few inserts
// whatever they wait: at 5,000 a second a row is visible after 65 ms in the
// middle, after 110 ms if the wait grew from the first row on. Single events
// over NATS, some 55,000 a second of a machine of two cores, cost ClickHouse 2.9
// CPU-seconds per million in blocks of 48,000 rows and 5.6 in those of 14,000
// (`make bench BENCH=latency,way-nats-single`).
const (
	quietRows = 10_000
	busyRows  = 60_000
)

// full says whether the batch takes no more. Rows and columns bound the block;
// frames and their packed bytes bound what it takes to hold it, which is more
// than the block where frames have few rows or none.
func (p pace) full(b *batch) bool {
	return b.rows >= p.maxRows || b.frames >= p.maxRows || b.bytes >= p.maxBytes || len(b.packed) >= p.maxBytes/2
}

// wait is how much longer the batch should collect.
func (p pace) wait(b *batch, now time.Time) time.Duration {
	if p.full(b) {
		return 0
	}
	age := now.Sub(b.started)
	if age < 0 { // the clock was set back: what is to come would have to pass first
		b.started, age = now, 0
	}
	rate := float64(b.rows) / max(age, 20*time.Millisecond).Seconds()
	busy := min(max(rate-quietRows, 0)/(busyRows-quietRows), 1)
	want := p.minAge + time.Duration(busy*float64(p.maxAge-p.minAge))
	return max(0, want-age)
}

// collect puts the frames that the shards read into batches and hands those to
// out. While the committer is busy the batch in hand grows up to the pace's
// limits, and then nothing more is taken: that is the backpressure. It ends
// with ctx; batches come back through free.
func (s *sink) collect(ctx context.Context, arrivals <-chan arrival, free <-chan *batch, out chan<- *batch) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var b *batch
	for {
		var in <-chan arrival
		var ready chan<- *batch
		var refill <-chan *batch
		switch {
		case b == nil:
			refill = free
		case b.frames == 0:
			in = arrivals
		default:
			if !s.cfg.pace.full(b) {
				in = arrivals
			}
			if wait := s.cfg.pace.wait(b, failpoint.Now()); wait > 0 {
				timer.Reset(wait)
			} else {
				ready = out
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case b = <-refill:
		case ready <- b:
			b = nil
		case <-timer.C:
		case a := <-in:
			if s.shards[a.lane].lives(a.life) {
				if err := b.add(&a); err != nil {
					return err
				}
			}
		}
	}
}
