package indexer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
)

// ErrWentBack says that a log, the ledger and the table disagree about how far
// they are: a stream or a database was lost, shortened or restored. Going on
// would give sequences twice. The shard stays shut.
var ErrWentBack = errors.New("the streams, the ledger and ClickHouse disagree; nothing is written until `millrace recover` has been run")

// takeover makes this process the shard's owner: it proves that nothing went
// back, writes its name into the ledger, and settles the block whose fate its
// predecessor may have left open. It returns the frame to go on from.
func (s *shard) takeover(ctx context.Context) (*committer, uint64, error) {
	last, ok, err := bus.LedgerLast(ctx, s.ledger, s.names, s.id)
	if err != nil {
		return nil, 0, err
	}
	if err := s.mayOpen(ctx, last, ok); err != nil {
		return nil, 0, err
	}
	c := &committer{
		store: s.table, journal: s, metrics: s.metrics, log: s.log, backoff: s.backoff, bury: s.bury,
		incarnation: s.inst.Incarnation, shard: s.id, owner: s.cfg.Instance,
	}
	mine := last // the same state under a new owner
	mine.Incarnation, mine.Shard, mine.Owner, mine.At = s.inst.Incarnation, s.id, s.cfg.Instance, time.Now().UTC()
	c.ours = time.Now()
	if err := s.Append(ctx, &mine, last.Revision); err != nil {
		return nil, 0, err
	}
	c.last = mine
	s.metrics.takeovers.Inc()
	if mine.Open == nil {
		s.found = mine.Proven
		s.trimmable.Store(s.checkpointAt(ctx, mine.Proven))
		return c, mine.Proven + 1, nil
	}
	b, err := s.reread(ctx, mine.Open)
	if err != nil {
		return nil, 0, err
	}
	s.log.Info("settling the block that was open", "frames", frames(mine.Open), "rows", b.totals.Rows)
	if err := c.settle(ctx, b.rows, false); err != nil {
		return nil, 0, err
	}
	s.proved(b)
	return c, mine.Open.Last + 1, nil
}

// mayOpen checks RAW.last >= ENRICHED.last >= what the ledger knows >= what
// ClickHouse has, and that ENRICHED was made from the RAW that is there now.
func (s *shard) mayOpen(ctx context.Context, last bus.Record, ok bool) error {
	raw, err := s.js.Stream(ctx, s.names.StreamRaw(s.id))
	if err != nil {
		return fmt.Errorf("look up RAW: %w", err)
	}
	enriched, err := s.js.Stream(ctx, s.names.StreamEnriched(s.id))
	if err != nil {
		return fmt.Errorf("look up ENRICHED: %w", err)
	}
	// ENRICHED first: RAW may only have grown since.
	enrichedInfo, err := enriched.Info(ctx)
	if err != nil {
		return fmt.Errorf("look up ENRICHED: %w", err)
	}
	rawInfo, err := raw.Info(ctx)
	if err != nil {
		return fmt.Errorf("look up RAW: %w", err)
	}
	known := last.Proven
	if last.Open != nil {
		known = last.Open.Last
	}
	first, have := enrichedInfo.State.FirstSeq, enrichedInfo.State.LastSeq
	switch {
	case ok && last.Incarnation != s.inst.Incarnation:
		return fmt.Errorf("%w: the ledger is of incarnation %d, the streams of %d", ErrWentBack, last.Incarnation, s.inst.Incarnation)
	case rawInfo.State.LastSeq < have:
		return fmt.Errorf("%w: RAW ends at %d, ENRICHED at %d", ErrWentBack, rawInfo.State.LastSeq, have)
	case have < known:
		return fmt.Errorf("%w: ENRICHED ends at %d, the ledger knows frame %d", ErrWentBack, have, known)
	case last.Proven+1 < first && last.Proven < have:
		return fmt.Errorf("%w: proven are frames up to %d, ENRICHED begins at %d", ErrWentBack, last.Proven, first)
	}
	beyond, err := s.table.Beyond(ctx, s.id, known)
	if err != nil {
		return err
	}
	if beyond > 0 {
		return fmt.Errorf("%w: ClickHouse has rows of frame %d, the ledger knows frames up to %d", ErrWentBack, beyond, known)
	}
	return sameFrame(ctx, raw, enriched, have)
}

// sameFrame checks that ENRICHED's last frame names the RAW message that is at
// its sequence today; one that RAW no longer holds cannot be compared.
func sameFrame(ctx context.Context, raw, enriched jetstream.Stream, seq uint64) error {
	if seq == 0 {
		return nil
	}
	answer, err := enriched.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read ENRICHED at %d: %w", seq, err)
	}
	question, err := raw.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read RAW at %d: %w", seq, err)
	}
	var checkpoint frame.Checkpoint
	if err := frame.Decode(answer.Header.Get(bus.HeaderCheckpoint), &checkpoint); err != nil {
		return err
	}
	if id := question.Header.Get(bus.HeaderFrame); id != checkpoint.Frame {
		return fmt.Errorf("%w: RAW holds frame %q at %d, ENRICHED answers %q", ErrWentBack, id, seq, checkpoint.Frame)
	}
	return nil
}

// reread collects the frames of an open block once more.
func (s *shard) reread(ctx context.Context, open *bus.Intent) (*batch, error) {
	stream, err := s.js.Stream(ctx, s.names.StreamEnriched(s.id))
	if err != nil {
		return nil, fmt.Errorf("look up ENRICHED: %w", err)
	}
	b, decoder := newBatch(), newDecoder()
	for seq := open.First; seq <= open.Last; seq++ {
		msg, err := stream.GetMsg(ctx, seq)
		if err != nil {
			return nil, fmt.Errorf("read frame %d of the open block %s: %w", seq, frames(open), err)
		}
		if err := decoder.add(b, seq, msg.Header, msg.Data); err != nil {
			return nil, err
		}
	}
	if b.totals != open.Totals {
		return nil, fmt.Errorf("%w: the open block %s counts %+v, its frames %+v", ErrWentBack, frames(open), open.Totals, b.totals)
	}
	return b, nil
}

// checkpointAt is the checkpoint of a proven frame, nil if it is trimmed or
// cannot be read now.
func (s *shard) checkpointAt(ctx context.Context, seq uint64) *trimPoint {
	if seq == 0 {
		return nil
	}
	stream, err := s.js.Stream(ctx, s.names.StreamEnriched(s.id))
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
