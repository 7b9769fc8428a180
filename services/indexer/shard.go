package indexer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/libs/bus"
)

// idleProof is how long a shard waits for a next block before it writes down
// that the last one is proven; a reader that waits for its row waits no longer
// than this for the ledger to say so.
const idleProof = 20 * time.Millisecond

// drainTime is how long a block that is on its way may take when the shard is
// given up. What is not proven by then is settled by the next owner.
const drainTime = 10 * time.Second

// shard is one owned shard: a reader that collects, a committer that inserts,
// a trimmer. It lives as long as the lease.
type shard struct {
	id      int
	cfg     *Config
	inst    bus.Installation
	names   bus.Names
	js      jetstream.JetStream
	ledger  jetstream.Stream
	kv      jetstream.KeyValue
	table   *table
	metrics *metrics
	log     *slog.Logger

	trimmable atomic.Pointer[trimPoint] // what the committer has proven last
	found     uint64                    // what was proven at takeover, where no block was open
	deadTold  uint64                    // the trimmer's: what the bucket said of dead letters
	deadAsked time.Time                 // and when
}

// Append implements journal on the LEDGER stream.
func (s *shard) Append(ctx context.Context, rec *bus.Record, expect uint64) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return bus.LedgerAppend(ctx, s.js, s.ledger, s.names, rec, expect)
}

// Newest implements journal on the LEDGER stream.
func (s *shard) Newest(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	rec, _, err := bus.LedgerLast(ctx, s.ledger, s.names, s.id)
	return rec.Revision, err
}

// run works on the shard until ctx is done or another owner is in the way.
func (s *shard) run(ctx context.Context, opened func()) error {
	defer s.table.close()
	c, next, err := s.takeover(ctx)
	if err != nil {
		return err
	}
	opened()
	s.log.Info("shard is open", "next_frame", next)
	// Two batches: one is filled while the other is inserted.
	free, out := make(chan *batch, 2), make(chan *batch)
	free <- newBatch()
	free <- newBatch()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.read(ctx, next, free, out) })
	g.Go(func() error { return s.trim(ctx) })
	g.Go(func() error { return s.commits(ctx, c, out, free) })
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// commits proves one batch after another. A batch that was begun is finished
// with a context of its own, so that giving up a shard leaves nothing open.
func (s *shard) commits(ctx context.Context, c *committer, in <-chan *batch, free chan<- *batch) error {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(drainTime, cancel) })
	defer stop()
	idle := time.NewTimer(idleProof)
	defer idle.Stop()
	for {
		select {
		case <-ctx.Done():
			if err := c.close(work); err != nil && !errors.Is(err, bus.ErrFenced) {
				return fmt.Errorf("write the last proof: %w", err)
			}
			return ctx.Err()
		case <-idle.C:
			if err := c.close(work); err != nil {
				return err
			}
		case b := <-in:
			began := time.Now()
			if err := c.commit(work, b); err != nil {
				return err
			}
			s.metrics.observe(b, time.Since(began))
			s.proved(b)
			b.reset()
			free <- b
			idle.Reset(idleProof)
		}
	}
}

// proved tells the trimmer how far the rows are in ClickHouse.
func (s *shard) proved(b *batch) {
	s.trimmable.Store(&trimPoint{proven: b.last, checkpoint: b.checkpoint})
}

func (s *shard) backoff() delays { return &growing{next: 50 * time.Millisecond} }

// growing waits 50 ms at first and up to 5 s later; its end is the context,
// because an event is never given up for an error of the way.
type growing struct{ next time.Duration }

func (g *growing) wait(ctx context.Context) error {
	timer := time.NewTimer(g.next)
	defer timer.Stop()
	g.next = min(2*g.next, 5*time.Second)
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
