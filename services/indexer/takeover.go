package indexer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/failpoint"
)

// takeover makes this process the sink's owner: it proves that nothing went
// back, writes its name into the ledger, and settles the block whose fate its
// predecessor may have left open. A shard that does not pass stays shut, which
// shut tells, and the others go on; but not while the open block holds frames
// of it, for a block is settled whole or not at all.
func (s *sink) takeover(ctx context.Context) (c *committer, shut map[int]error, err error) {
	last, ok, err := bus.LedgerLast(ctx, s.ledger, s.names, s.id)
	if err != nil {
		return nil, nil, err
	}
	if !ok {
		for _, sh := range s.shards {
			last.Shards = append(last.Shards, bus.Proof{Shard: sh.id})
		}
	}
	if err := s.ours(&last, ok); err != nil {
		return nil, nil, err
	}
	if shut, err = s.mayOpen(ctx, &last); err != nil {
		return nil, nil, err
	}
	c = &committer{
		store: s.table, journal: s, metrics: s.metrics, log: s.log, backoff: s.backoff, bury: s.bury, retried: s.retried,
		incarnation: s.inst.Incarnation, sink: s.id, owner: s.cfg.Instance,
	}
	mine := last         // the same state under a new owner
	mine.Recovered = nil // that was the record before
	mine.Incarnation, mine.Sink, mine.Owner, mine.At = s.inst.Incarnation, s.id, s.cfg.Instance, failpoint.Now().UTC()
	c.ours = failpoint.Now()
	failpoint.At(failpoint.IndexerTakeoverBefore)
	if err := s.Append(ctx, &mine, last.Revision); err != nil {
		return nil, nil, err
	}
	failpoint.At(failpoint.IndexerTakeoverAfter)
	c.last = mine
	s.metrics.takeovers.Inc()
	if mine.Open != nil {
		if err := s.settleOpen(ctx, c); err != nil {
			return nil, nil, err
		}
	}
	for _, p := range c.state() {
		sh := s.shards[slices.IndexFunc(s.shards, func(sh *shard) bool { return sh.id == p.Shard })]
		sh.next, sh.found = p.Proven+1, p.Proven
		s.metrics.proven.WithLabelValues(strconv.Itoa(p.Shard)).Set(float64(p.Proven))
		if sh.trimmable.Load() == nil && shut[sh.id] == nil {
			sh.trimmable.Store(sh.checkpointAt(ctx, p.Proven))
		}
	}
	return c, shut, nil
}

// ours says whether a record is of this life of the streams and of this
// sink's shards.
func (s *sink) ours(last *bus.Record, stored bool) error {
	if stored && last.Incarnation != s.inst.Incarnation {
		return fmt.Errorf("%w: the ledger is of incarnation %d, the streams of %d", ErrWentBack, last.Incarnation, s.inst.Incarnation)
	}
	var named []int
	for _, p := range last.Shards {
		named = append(named, p.Shard)
	}
	if want := s.inst.ShardsOf(s.id); !slices.Equal(named, want) {
		return fmt.Errorf("%w: the ledger of sink %d is of shards %v, the sink's are %v", ErrWentBack, s.id, named, want)
	}
	return nil
}

// mayOpen checks every shard. The error is of a sink that cannot work: no shard
// passes, or one does not that the open block is waiting for.
func (s *sink) mayOpen(ctx context.Context, last *bus.Record) (shut map[int]error, err error) {
	results := make([]error, len(s.shards))
	// One that hears nothing ends the others: with a ClickHouse that hangs,
	// each of many shards would wait for its own timeout, one after the other.
	g, asking := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for lane, sh := range s.shards {
		share := last.Share(sh.id)
		g.Go(func() error {
			results[lane] = sh.mayOpen(asking, share.Proven+1, share.Known())
			if errors.Is(results[lane], errNoAnswer) {
				return results[lane]
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("look whether the shards of sink %d may open: %w", s.id, err)
	}
	shut = map[int]error{}
	for lane, err := range results {
		if err == nil {
			continue
		}
		id := s.shards[lane].id
		if share := last.Share(id); share.Open != nil && len(s.shards) > 1 {
			return nil, fmt.Errorf("the open block %s cannot be settled, so all shards of sink %d wait for shard %d: %w", frames(last.Open), s.id, id, err)
		}
		shut[id] = err
	}
	if len(shut) == len(s.shards) {
		// What is wrong with all of them is mostly one thing.
		return nil, errors.Join(slices.CompactFunc(results, func(a, b error) bool { return a.Error() == b.Error() })...)
	}
	return shut, nil
}

// settleOpen proves the block that was open.
func (s *sink) settleOpen(ctx context.Context, c *committer) error {
	open := c.last.Open
	failpoint.At(failpoint.IndexerRereadBefore)
	b, err := s.reread(ctx, open)
	failpoint.At(failpoint.IndexerRereadAfter)
	if err != nil {
		return err
	}
	rows, err := s.joiner.join(b)
	if bad, ok := errors.AsType[*damaged](err); ok {
		return fmt.Errorf("the open block %s cannot be settled, so all shards of sink %d wait for shard %d: %w", frames(open), s.id, b.parts[bad.lane].shard, err)
	}
	s.log.Info("settling the block that was open", "frames", frames(open), "rows", b.rows)
	if err := c.settle(ctx, rows, false); err != nil {
		return err
	}
	s.waits(bus.StuckTakeover, "taking over") // which settling may have ended
	s.proved(b)
	return nil
}

// reread collects the frames of an open block once more.
func (s *sink) reread(ctx context.Context, open *bus.Intent) (*batch, error) {
	b := s.newBatch()
	for _, want := range open.Ranges {
		lane := slices.IndexFunc(s.shards, func(sh *shard) bool { return sh.id == want.Shard })
		if lane < 0 {
			return nil, fmt.Errorf("%w: the open block %s has frames of shard %d, which is not of sink %d", ErrWentBack, frames(open), want.Shard, s.id)
		}
		if err := s.shards[lane].reread(ctx, b, want.First, want.Last); err != nil {
			return nil, fmt.Errorf("read the open block %s of shard %d again: %w", frames(open), want.Shard, err)
		}
		if got := b.parts[lane].totals; got != want.Totals {
			return nil, fmt.Errorf("%w: the open block %s counts %+v of shard %d, its frames %+v", ErrWentBack, frames(open), want.Totals, want.Shard, got)
		}
	}
	return b, nil
}

// checkpointAt is the checkpoint of a proven frame, nil if it is trimmed or
// cannot be read now.
func (s *shard) checkpointAt(ctx context.Context, seq uint64) *trimPoint {
	if seq == 0 {
		return nil
	}
	stream, err := s.sink.js.Stream(ctx, s.sink.names.StreamEnriched(s.id))
	if err != nil {
		return nil
	}
	msg, err := stream.GetMsg(ctx, seq)
	if err != nil {
		return nil
	}
	point := trimPoint{proven: seq}
	if frame.Decode(msg.Header.Get(bus.HeaderCheckpoint), &point.checkpoint) != nil {
		return nil
	}
	return &point
}
