package enricher

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
)

// maxHole bounds how many missing frames at the end of what is enriched are
// answered as lost. More are no accident of single messages.
const maxHole = 100_000

// position is where a shard's owner begins.
type position struct {
	last uint64 // of ENRICHED
	// from is the first frame to read: behind last only to build up the dedup
	// state, which is complete once readBackTo was read; 0: nothing to read.
	from, readBackTo uint64
	checkpoint       frame.Checkpoint // of last, zero when ENRICHED is empty
	waiting          bool             // RAW holds frames that are not answered
}

// takeover looks at both streams and proves that going on after ENRICHED's
// last frame is right, or says with [ErrShut] why it is not.
func (s *shard) takeover(ctx context.Context) (position, error) {
	ctx, cancel := context.WithTimeout(ctx, 6*apiTimeout)
	defer cancel()
	var err error
	if s.raw, err = s.js.Stream(ctx, s.names.StreamRaw(s.id)); err != nil {
		return position{}, fmt.Errorf("look up RAW: %w", err)
	}
	if s.enriched, err = s.js.Stream(ctx, s.names.StreamEnriched(s.id)); err != nil {
		return position{}, fmt.Errorf("look up ENRICHED: %w", err)
	}
	// RAW is asked again after ENRICHED: it grows first, so a younger ENRICHED
	// could seem to be ahead.
	rawInfo, err := s.raw.Info(ctx, jetstream.WithDeletedDetails(true))
	if err != nil {
		return position{}, fmt.Errorf("look up RAW: %w", err)
	}
	enrichedInfo := s.enriched.CachedInfo()
	raw, enriched := rawInfo.State, enrichedInfo.State
	if a, b := bus.IncarnationOf(rawInfo.Config), bus.IncarnationOf(enrichedInfo.Config); a != b || a != s.inst.Incarnation {
		return position{}, s.shut("RAW is of incarnation %d, ENRICHED of %d, the installation of %d", a, b, s.inst.Incarnation)
	}
	if raw.LastSeq < enriched.LastSeq {
		return position{}, s.shut("RAW ends at %d, ENRICHED at %d", raw.LastSeq, enriched.LastSeq)
	}
	if raw.FirstSeq > enriched.LastSeq+maxHole {
		return position{}, s.shut("RAW begins at %d, ENRICHED ends at %d", raw.FirstSeq, enriched.LastSeq)
	}
	p := position{last: enriched.LastSeq, waiting: raw.LastSeq > enriched.LastSeq}
	if err := s.readCheckpoint(ctx, &p, enriched, raw); err != nil {
		return position{}, err
	}
	p.from, p.readBackTo = readBackRange(p, raw)
	return p, nil
}

func (s *shard) shut(format string, args ...any) error {
	return fmt.Errorf("shard %d: %s: %w", s.id, fmt.Sprintf(format, args...), ErrShut)
}

// readCheckpoint reads the last frame's checkpoint and checks that RAW still
// holds, at this sequence, the frame that it answers.
func (s *shard) readCheckpoint(ctx context.Context, p *position, enriched, raw jetstream.StreamState) error {
	if p.last == 0 {
		return nil
	}
	if enriched.Msgs == 0 {
		// Nobody trims the last frame, so an operator did. Everything in RAW is
		// read back; which dead letters are out cannot be known.
		s.log.Error("ENRICHED is empty but not new: dead letters of earlier frames are taken as published", "seq", p.last)
		p.checkpoint = frame.Checkpoint{DeadOut: p.last, Window: raw.FirstSeq}
		return nil
	}
	msg, err := fetch(ctx, s.enriched, p.last)
	if err != nil {
		return err
	}
	if err := frame.Decode(msg.Header.Get(bus.HeaderCheckpoint), &p.checkpoint); err != nil {
		return s.shut("ENRICHED's last frame %d has no checkpoint that can be read (%v)", p.last, err)
	}
	if p.last < raw.FirstSeq || slices.Contains(raw.Deleted, p.last) {
		return nil
	}
	question, err := fetch(ctx, s.raw, p.last)
	if err != nil {
		return err
	}
	if id := question.Header.Get(bus.HeaderFrame); id != p.checkpoint.Frame {
		return s.shut("RAW holds frame %q at %d, ENRICHED answers frame %q there", id, p.last, p.checkpoint.Frame)
	}
	return nil
}

// readBackRange is the part of RAW that rebuilds the dedup state, as far as
// RAW holds it.
func readBackRange(p position, raw jetstream.StreamState) (from, to uint64) {
	from, to = max(p.checkpoint.Window, raw.FirstSeq, 1), p.last
	for to >= from && slices.Contains(raw.Deleted, to) {
		to--
	}
	if p.last == 0 || to < from || raw.Msgs == 0 {
		return p.last + 1, 0
	}
	return from, to
}

// open makes everything a new owner needs.
func (s *shard) open(p position) {
	s.next = p.last + 1
	s.refused, s.earlier = p.checkpoint.Refused, p.checkpoint.Earlier
	s.received = p.checkpoint.Received
	seen := newDedup(s.cfg.secret, s.cfg.DedupWindow, s.cfg.DedupMemory/int64(s.inst.Shards))
	seen.resume(p.checkpoint.Before)
	s.mill = newMill(s.id, s.cfg.Limits, s.maxPayload, seen, s.crash.deadly())
	s.out = &outbox{
		js: s.js, stream: s.enriched, subject: s.names.Enriched(s.id), writer: rand.Text(),
		log: s.log, m: s.m, acked: p.last, troubled: s.troubled,
	}
	s.letters = newLetters(s, p)
	s.in = make(chan *rawFrame, aheadFrames)
}

// readBack adds the ids of the frames that were answered before to the dedup
// state.
func (s *shard) readBack(ctx context.Context, p position) error {
	if p.readBackTo == 0 {
		return nil
	}
	began, frames := time.Now(), 0
	s.note(errors.New("reading back the dedup window"))
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case f, ok := <-s.in:
			switch {
			case !ok:
				return ctx.Err()
			case f.seq > p.last: // the frames up to last are gone
				s.held = f
			case f.codec > frame.Codec:
				return fmt.Errorf("read RAW back at %d: %w", f.seq, errNewerCodec)
			default:
				s.mill.readBack(f)
				frames++
			}
			if f.seq >= p.readBackTo {
				s.log.Info("the dedup window was read back", "from", p.from, "seq", f.seq, "frames", frames,
					"ids", s.mill.seen.ids(), "took", time.Since(began).String())
				return nil
			}
		}
	}
}
