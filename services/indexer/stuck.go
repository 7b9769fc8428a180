package indexer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/eventdb"
)

// levelEvery is how often a shard compares what ENRICHED holds with what is
// proven.
const levelEvery = time.Second

// errNoAnswer says that ClickHouse could not be reached or did not answer in
// time: of a query whose outcome is unknown.
var errNoAnswer = errors.New("ClickHouse gives no answer")

// stuckReason is the class of what keeps a shard from going on.
func stuckReason(err error) string {
	switch {
	case errors.Is(err, ErrWentBack):
		return bus.StuckWentBack
	case errors.Is(err, ErrDoubled):
		return bus.StuckDoubled
	case errors.Is(err, ErrNewerCodec):
		return bus.StuckCodec
	case errors.Is(err, ErrGap), errors.Is(err, frame.ErrDamaged):
		return bus.StuckDamaged
	}
	if code, ok := eventdb.Code(err); ok {
		switch code {
		case 164, 242, 774: // READONLY, TABLE_IS_READ_ONLY, TABLE_IS_PERMANENTLY_READ_ONLY
			return bus.StuckReadOnly
		case 252: // TOO_MANY_PARTS
			return bus.StuckParts
		case 241, 173: // MEMORY_LIMIT_EXCEEDED, CANNOT_ALLOCATE_MEMORY
			return bus.StuckMemory
		case 243: // NOT_ENOUGH_SPACE
			return bus.StuckDisk
		}
		if eventdb.Classify(err) == eventdb.Setup {
			return bus.StuckSetup
		}
		return bus.StuckBusy
	}
	api, isAPI := errors.AsType[jetstream.JetStreamError](err)
	switch {
	case bus.IsFull(err):
		return bus.StuckFull
	case errors.Is(err, errNoAnswer):
		return bus.StuckAway
	case isAPI && api != nil, errors.Is(err, nats.ErrTimeout), errors.Is(err, nats.ErrNoResponders), errors.Is(err, nats.ErrDisconnected),
		errors.Is(err, nats.ErrConnectionReconnecting), errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionClosed),
		errors.Is(err, context.DeadlineExceeded): // all queries are errNoAnswer
		return bus.StuckNATS
	}
	return bus.StuckOther
}

// stuck is what the indexer says of its shards to others.
func (x *Indexer) stuck() (all []bus.Why) {
	for _, st := range x.lanes.Stuck() {
		all = append(all, bus.Why(st))
	}
	return all
}

// waits says what the sink waits for. Its shards wait together: there is one
// block at a time.
func (s *sink) waits(reason, why string) {
	for _, sh := range s.shards {
		s.lanes.Wait(sh.id, reason, why)
	}
}

// retried says that the sink goes on trying, and at what, or with nil that it
// need not any more.
func (s *sink) retried(err error) {
	if err == nil {
		s.waited()
		return
	}
	s.waits(stuckReason(err), err.Error())
}

func (s *sink) waited() {
	for _, sh := range s.shards {
		s.lanes.Done(sh.id)
	}
}

// look compares how far ENRICHED and the proof are until ctx is done, so that a
// shard that stands still shows, whatever it is that hangs.
func (s *shard) look(ctx context.Context) error {
	tick := time.NewTicker(levelEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		last, err := s.lastEnriched(ctx)
		if err != nil {
			continue // the leases meet the same trouble and say so
		}
		have := s.found
		if point := s.trimmable.Load(); point != nil {
			have = max(have, point.proven)
		}
		s.sink.lanes.Level(s.id, have, last)
	}
}

func (s *shard) lastEnriched(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	stream, err := s.sink.js.Stream(ctx, s.sink.names.StreamEnriched(s.id))
	if err != nil {
		return 0, fmt.Errorf("look up ENRICHED: %w", err)
	}
	return stream.CachedInfo().State.LastSeq, nil
}
