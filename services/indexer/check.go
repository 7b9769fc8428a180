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

// checkTimeout is how long ClickHouse may take to look for the newest row of a
// shard, which it finds by an index.
const checkTimeout = 10 * time.Second

// mayOpen checks RAW.last >= ENRICHED.last >= what the ledger knows >= what
// ClickHouse has, that ENRICHED holds the frame to go on from, and that it was
// made from the RAW that is there now.
func (s *shard) mayOpen(ctx context.Context, next, known uint64) error {
	js, names := s.sink.js, s.sink.names
	raw, err := js.Stream(ctx, names.StreamRaw(s.id))
	if err != nil {
		return fmt.Errorf("look up RAW: %w", err)
	}
	enriched, err := js.Stream(ctx, names.StreamEnriched(s.id))
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
	first, have := enrichedInfo.State.FirstSeq, enrichedInfo.State.LastSeq
	switch {
	case rawInfo.State.LastSeq < have:
		return fmt.Errorf("%w: RAW ends at %d, ENRICHED at %d", ErrWentBack, rawInfo.State.LastSeq, have)
	case have < known:
		return fmt.Errorf("%w: ENRICHED ends at %d, the ledger knows frame %d", ErrWentBack, have, known)
	case next < first && next <= have:
		return fmt.Errorf("%w: proven are frames up to %d, ENRICHED begins at %d", ErrWentBack, next-1, first)
	}
	table := s.sink.dial()
	defer table.close()
	ask, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	beyond, err := table.Beyond(ask, s.id, known)
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
