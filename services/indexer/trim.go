package indexer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/failpoint"
	"github.com/millrace/millrace/libs/svc"
)

// A stream over trimFrom of its size is trimmed down to trimTo, also of what
// would be kept otherwise, but never past proof.
const (
	trimFrom = 0.70
	trimTo   = 0.50
)

// trimPoint is what is proven: the frame and its checkpoint.
type trimPoint struct {
	proven     uint64
	checkpoint frame.Checkpoint
}

// lookEvery is how often a stream's fill is looked at: often enough that one
// of a few megabytes cannot run full in between.
const lookEvery = 250 * time.Millisecond

// deadEvery is how often the bucket is asked how far dead letters are out.
const deadEvery = 5 * time.Second

// trim purges what is proven, every TrimEvery while streams are roomy and at
// every look while they are nearly full, until ctx is done. Only the owner of
// an open shard does it.
func (s *shard) trim(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var lastRoutine, until time.Time // until: a look that failed waits so long
	pause := lookEvery
	var lines svc.Repeated
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-tick.C:
			if now.Before(until) {
				continue
			}
			routine := failpoint.Due(lastRoutine, s.sink.cfg.TrimEvery)
			if routine {
				lastRoutine = failpoint.Now()
			}
			point := s.trimmable.Load()
			if point == nil && routine {
				// It could not be read at takeover. While the streams are full no
				// frame comes that would bring another.
				s.trimmable.CompareAndSwap(nil, s.checkpointAt(ctx, s.found))
				point = s.trimmable.Load()
			}
			if point == nil || s.sink.auditing.Load() {
				continue
			}
			err := s.trimOnce(ctx, point, routine)
			switch {
			case ctx.Err() != nil:
			case err == nil:
				pause = lookEvery
				lines.Over()
			default:
				// Nothing is lost by it; it is tried again.
				s.sink.metrics.retries.WithLabelValues("trim").Inc()
				if times, due := lines.Again(); due {
					s.log.Warn("trimming is retried", "times", times, "err", err)
				}
				pause = min(2*pause, lastDelay)
				until = time.Now().Add(pause)
			}
		}
	}
}

func (s *shard) trimOnce(ctx context.Context, point *trimPoint, routine bool) error {
	enriched := trimmer{js: s.sink.js, stream: s.sink.names.StreamEnriched(s.id), keep: s.sink.cfg.Keep, purge: purgeEnriched, log: s.trimmed}
	// What is proven and whose dead letters are out may go; of ENRICHED all but
	// the last such frame, which carries the checkpoint. What is proven but not
	// yet written down is still the open block: whoever takes over before that
	// reads its frames again.
	proven := min(point.proven, s.recorded.Load(), s.deadOut(ctx, point))
	if proven == 0 {
		return nil
	}
	if err := enriched.run(ctx, routine, proven-1, proven-1); err != nil {
		return err
	}
	// Of RAW the dedup window is kept as well while there is room: when the
	// stream is nearly full the window shortens, because a shut door would be
	// worse.
	outside := min(proven, max(point.checkpoint.Window, 1)-1)
	raw := trimmer{js: s.sink.js, stream: s.sink.names.StreamRaw(s.id), keep: s.sink.cfg.Keep, purge: purgeRaw, log: s.trimmed}
	return raw.run(ctx, routine, outside, proven)
}

// deadOut is the last frame up to which all dead letters are in DEAD. The
// checkpoint of the last frame says it, but as of when that was written: if
// letters were late then, and the streams are full so that no further frame
// comes, only the bucket tells that they are out by now.
func (s *shard) deadOut(ctx context.Context, point *trimPoint) uint64 {
	written := point.checkpoint.DeadOut
	if written >= point.proven || !failpoint.Due(s.deadAsked, deadEvery) {
		return max(written, s.deadTold)
	}
	ask, cancel := context.WithTimeout(ctx, time.Second) // trimming must not wait for it
	defer cancel()
	told, err := bus.DeadOut(ask, s.sink.kv, s.sink.inst, s.id)
	s.deadAsked = failpoint.Now()
	if err != nil {
		s.log.Debug("trimming goes by the last frame", "err", err)
	}
	s.deadTold = max(s.deadTold, told)
	return max(written, s.deadTold)
}

func (s *shard) trimmed(stream string, from, to uint64, full bool) {
	s.sink.metrics.trimmed.Add(float64(to - from + 1))
	s.log.Debug("trimmed", "stream", stream, "from", from, "to", to, "nearly_full", full)
}

func purgeEnriched(ctx context.Context, js jetstream.JetStream, stream string, below uint64) error {
	failpoint.At(failpoint.IndexerTrimEnrichedBefore)
	err := bus.Purge(ctx, js, stream, below)
	failpoint.At(failpoint.IndexerTrimEnrichedAfter)
	return err
}

func purgeRaw(ctx context.Context, js jetstream.JetStream, stream string, below uint64) error {
	failpoint.At(failpoint.IndexerTrimRawBefore)
	err := bus.Purge(ctx, js, stream, below)
	failpoint.At(failpoint.IndexerTrimRawAfter)
	return err
}

// trimmer purges one stream.
type trimmer struct {
	js     jetstream.JetStream
	stream string
	keep   time.Duration
	purge  func(ctx context.Context, js jetstream.JetStream, stream string, below uint64) error
	log    func(stream string, from, to uint64, full bool)
}

// run purges up to `aged` what is older than keep (on a routine round), and up
// to `proven` as much as a nearly full stream needs.
func (t *trimmer) run(ctx context.Context, routine bool, aged, proven uint64) error {
	stream, err := t.js.Stream(ctx, t.stream)
	if err != nil {
		return fmt.Errorf("trim %s: %w", t.stream, err)
	}
	info := stream.CachedInfo()
	st, limit := info.State, float64(info.Config.MaxBytes)
	if st.Msgs == 0 || st.FirstSeq > proven {
		return nil
	}
	upTo := uint64(0)
	full := limit > 0 && float64(st.Bytes) > trimFrom*limit
	if full {
		each := float64(st.Bytes) / float64(st.Msgs)
		upTo = min(proven, st.FirstSeq-1+uint64((float64(st.Bytes)-trimTo*limit)/each)+1)
	}
	if routine && aged >= st.FirstSeq {
		old, err := lastBefore(ctx, stream, st.FirstSeq, min(aged, st.LastSeq), st.LastTime.Add(-t.keep))
		if err != nil {
			return fmt.Errorf("trim %s: %w", t.stream, err)
		}
		upTo = max(upTo, old)
	}
	if upTo < st.FirstSeq {
		return nil
	}
	if err := t.purge(ctx, t.js, t.stream, upTo+1); err != nil {
		return err
	}
	t.log(t.stream, st.FirstSeq, upTo, full)
	return nil
}

// lastBefore is the last sequence in first..last whose message is older than
// a time by JetStream's own clock, first-1 when none is: a binary search, since
// timestamps only grow.
func lastBefore(ctx context.Context, stream jetstream.Stream, first, last uint64, limit time.Time) (uint64, error) {
	lo, hi := first-1, last
	for lo < hi {
		mid := lo + (hi-lo+1)/2
		msg, err := stream.GetMsg(ctx, mid)
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound): // gone anyhow
			lo = mid
		case err != nil:
			return 0, err
		case msg.Time.Before(limit):
			lo = mid
		default:
			hi = mid - 1
		}
	}
	return lo, nil
}
