package enricher

import (
	"context"
	"errors"
	"time"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
)

// levelEvery is how often a shard compares what RAW holds with what is answered.
const levelEvery = time.Second

// stuckReason is the class of what keeps a shard from going on. What the
// enricher talks to is NATS alone.
func stuckReason(err error) string {
	switch {
	case errors.Is(err, ErrShut):
		return bus.StuckWentBack
	case errors.Is(err, errNewerCodec):
		return bus.StuckCodec
	case errors.Is(err, frame.ErrDamaged):
		return bus.StuckDamaged
	case bus.IsFull(err):
		return bus.StuckFull
	}
	return bus.StuckNATS
}

// stuck is what the enricher says of its shards to others.
func (e *Enricher) stuck() (all []bus.Why) {
	for _, st := range e.lanes.Stuck() {
		all = append(all, bus.Why(st))
	}
	return all
}

// troubled says that frames in flight are not acknowledged, or with nil that
// they are again.
func (s *shard) troubled(err error) {
	if err == nil {
		s.lanes.Done(s.id)
		return
	}
	s.lanes.Wait(s.id, stuckReason(err), "frames are not acknowledged: "+err.Error())
}

// lettersWait says that dead letters are not getting out, or with nil that they
// are. Frames may be answered meanwhile.
func (s *shard) lettersWait(err error) {
	if err == nil {
		s.lanes.Beside(s.id, "", "")
		return
	}
	s.lanes.Beside(s.id, stuckReason(err), "dead letters wait: "+err.Error())
}

// look compares how far RAW and ENRICHED are until ctx is done, so that a shard
// that stands still shows, whatever it is that hangs.
func (s *shard) look(ctx context.Context) {
	tick := time.NewTicker(levelEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		call, cancel := context.WithTimeout(ctx, apiTimeout)
		info, err := s.raw.Info(call)
		cancel()
		if err != nil {
			continue // the leases meet the same trouble and say so
		}
		s.lanes.Level(s.id, s.letters.answered(), info.State.LastSeq)
	}
}
