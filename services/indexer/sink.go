package indexer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/failpoint"
	"github.com/millrace/millrace/libs/svc"
)

// drainTime is how long a block that is on its way may take when the sink is
// given up. What is not proven by then is settled by the next owner.
const drainTime = 10 * time.Second

// sink is one owned sink: its shards read, a collector makes batches of what
// they read, a committer inserts one after the other. It lives as long as the
// lease.
type sink struct {
	id      int
	cfg     *Config
	inst    bus.Installation
	names   bus.Names
	js      jetstream.JetStream
	ledger  jetstream.Stream
	kv      jetstream.KeyValue
	table   *table                     // the committer's
	dial    func() *table              // of the shards' checks
	note    func(shard int, why error) // nil: it is open
	lanes   *svc.Lanes
	metrics *metrics
	log     *slog.Logger

	auditing atomic.Bool // rows that were proven are being counted again: nothing is trimmed

	shards   []*shard
	arrivals chan arrival
	joiner   *joiner // the committer's
}

// owned makes the sink ready to be taken over.
func (s *sink) owned() *sink {
	for lane, id := range s.inst.ShardsOf(s.id) {
		s.shards = append(s.shards, &shard{sink: s, id: id, lane: lane, log: s.log.With("shard", id)})
	}
	// Each shard has a frame ready while the collector takes another.
	s.arrivals = make(chan arrival, len(s.shards))
	s.joiner = newJoiner()
	return s
}

func (s *sink) newBatch() *batch { return newBatch(s.inst.ShardsOf(s.id)) }

// Append implements journal on the LEDGER stream.
func (s *sink) Append(ctx context.Context, rec *bus.Record, expect uint64) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := failpoint.Error(failpoint.IndexerLedgerBefore); err != nil {
		return err
	}
	if err := bus.LedgerAppend(ctx, s.js, s.ledger, s.names, rec, expect); err != nil {
		return err
	}
	if err := failpoint.Error(failpoint.IndexerLedgerAfter); err != nil {
		return err
	}
	for lane, p := range rec.Shards {
		s.shards[lane].recorded.Store(p.Proven)
	}
	return nil
}

// Newest implements journal on the LEDGER stream.
func (s *sink) Newest(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	rec, _, err := bus.LedgerLast(ctx, s.ledger, s.names, s.id)
	return rec.Revision, err
}

// run works on the sink until ctx is done or another owner is in the way.
func (s *sink) run(ctx context.Context) error {
	defer s.table.close()
	s.waits(bus.StuckTakeover, "taking over")
	c, shut, err := s.takeover(ctx)
	if err != nil {
		return err
	}
	// Two batches: one is filled while the other is inserted.
	free, out := make(chan *batch, 2), make(chan *batch)
	free <- s.newBatch()
	free <- s.newBatch()
	g, ctx := errgroup.WithContext(ctx)
	for _, sh := range s.shards {
		g.Go(func() error { return sh.run(ctx, shut[sh.id]) })
	}
	g.Go(func() error { return s.collect(ctx, s.arrivals, free, out) })
	g.Go(func() error { return s.commits(ctx, c, out, free) })
	g.Go(func() error { return s.audits(ctx) })
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// commits proves one batch after another. A batch that was begun is finished
// with a context of its own, so that giving up a sink leaves nothing open. When
// no batch is ready the proof of the last one is written down at once: a reader
// that waits for its row waits for that.
func (s *sink) commits(ctx context.Context, c *committer, in <-chan *batch, free chan<- *batch) error {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(drainTime, cancel) })
	defer stop()
	for {
		var b *batch
		select {
		case b = <-in:
		default:
			if err := c.close(work); err != nil {
				if ctx.Err() != nil && errors.Is(err, bus.ErrFenced) {
					return ctx.Err()
				}
				return fmt.Errorf("write the proof: %w", err)
			}
			select {
			case b = <-in:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := s.commit(work, c, b); err != nil {
			return err
		}
		b.reset()
		free <- b
	}
}

// commit joins a batch and brings it into ClickHouse. Frames that were to be
// read again since they were collected are left out, and so are those of a
// shard with a frame that cannot be joined: that shard is shut, here, before
// the ledger has said anything of them.
func (s *sink) commit(ctx context.Context, c *committer, b *batch) error {
	began := time.Now()
	for _, p := range c.state() {
		s.admit(b, p)
	}
	rows, err := s.join(b)
	if err != nil || b.frames == 0 {
		return err
	}
	s.waits(bus.StuckAway, "ClickHouse has not answered the insert of "+frames(b.intent())+" yet")
	if err := c.commit(ctx, b.intent(), rows); err != nil {
		return err
	}
	s.waited()
	s.metrics.observe(b, time.Since(began))
	s.proved(b)
	return nil
}

// admit leaves a shard's frames in the batch only if they are the ones that
// come next.
func (s *sink) admit(b *batch, proof bus.Proof) {
	for lane := range b.parts {
		p := &b.parts[lane]
		if p.shard != proof.Shard || len(p.frames) == 0 {
			continue
		}
		switch {
		case !s.shards[lane].lives(p.life):
			b.drop(lane)
		case p.first != proof.Proven+1:
			s.metrics.rewinds.Inc()
			s.shards[lane].rewind(proof.Proven+1, 0, fmt.Errorf("%w: want frame %d, collected from %d", ErrGap, proof.Proven+1, p.first))
			b.drop(lane)
		}
	}
}

// join makes one block of what can be joined of the batch.
func (s *sink) join(b *batch) (*frame.Block, error) {
	for {
		rows, err := s.joiner.join(b)
		bad, ok := errors.AsType[*damaged](err)
		if !ok {
			return rows, err
		}
		s.metrics.rewinds.Inc()
		s.shards[bad.lane].rewind(b.parts[bad.lane].first, bad.seq, err)
		b.drop(bad.lane)
	}
}

// proved tells the trimmers how far the rows are in ClickHouse.
func (s *sink) proved(b *batch) {
	for lane := range b.parts {
		if p := &b.parts[lane]; len(p.frames) > 0 {
			s.shards[lane].trimmable.Store(&trimPoint{proven: p.last, checkpoint: p.checkpoint})
			s.metrics.proven.WithLabelValues(strconv.Itoa(p.shard)).Set(float64(p.last))
		}
	}
}

func (s *sink) backoff() delays { return &growing{next: firstDelay} }
