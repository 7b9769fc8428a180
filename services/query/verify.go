package query

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
)

// VerifyOptions of one reconciliation.
type VerifyOptions struct {
	// Wait bounds how long it waits for what was accepted before it began: for proof, and for dead letters on their way.
	Wait time.Duration
}

// Verify reconciles, shard by shard, what the ledger has proven with what RAW, ENRICHED, ClickHouse and DEAD hold, and
// names what is missing or doubled. It reads only. Memory does not grow with the installation, apart from about a
// hundred bytes for each record that the ledger holds. report, which may be nil, is told how far it is. An error means
// that it could not be found out, not that something is wrong.
func (s *Service) Verify(ctx context.Context, opts VerifyOptions, report func(Progress)) (Report, error) {
	if report == nil {
		report = func(Progress) {}
	}
	began := time.Now()
	inst, err := s.reopen(ctx)
	if err != nil {
		return Report{}, err
	}
	deadline := began.Add(opts.Wait)
	pins, err := s.settle(ctx, inst, deadline, report)
	if err != nil {
		return Report{}, err
	}
	r := Report{OK: true, At: began.UTC(), Findings: []Finding{}}
	for shard, pin := range pins {
		shown, h, f, err := s.verifyShard(ctx, inst, shard, pin, deadline, report)
		if err != nil {
			return Report{}, fmt.Errorf("verify shard %d: %w", shard, err)
		}
		for _, rec := range h.recovered {
			x := rec.Recovered
			r.Recoveries = append(r.Recoveries, Recovery{
				Shard: shard, At: rec.At, Incarnation: rec.Incarnation, Highest: x.Highest, Proven: rec.Proven, Lost: x.Lost,
				Again: x.Again, Unknown: x.Unknown, UnknownFirst: x.UnknownFirst, UnknownLast: x.UnknownLast,
			})
		}
		if pin.stuck {
			f.add(KindStuck, shown.Proven+1, pin.raw, pin.raw, shown.Proven, fmt.Sprintf(
				"nothing of the shard was proven in %s although %d events wait", opts.Wait, shown.PendingEvents))
		}
		shown.OK = len(f.list) == 0
		r.add(shown, f)
	}
	r.Seconds = time.Since(began).Seconds()
	s.metrics.findings.Add(float64(len(r.Findings) + r.Omitted))
	s.metrics.verifying.WithLabelValues(map[bool]string{true: "ok", false: "findings"}[r.OK]).Inc()
	return r, nil
}

func (r *Report) add(shard ShardReport, f *findings) {
	r.Shards = append(r.Shards, shard)
	r.OK = r.OK && shard.OK
	r.Accepted += shard.Accepted
	r.Rows += shard.Rows
	r.Dead += shard.Dead
	r.Repeats += shard.Repeats
	r.Lost += shard.Lost
	r.Pending += shard.PendingEvents
	room := min(len(f.list), maxFindings-len(r.Findings))
	r.Findings = append(r.Findings, f.list[:room]...)
	r.Omitted += f.more + len(f.list) - room
}

// pin is how far a shard had come when verify began.
type pin struct {
	raw   uint64 // the last frame that was accepted
	start uint64 // what was proven
	stuck bool   // nothing more was proven although there was time
}

// leastPatience is the time in which a shard that works proves something.
const leastPatience = 2 * time.Second

// settle waits until what was accepted when it began is proven, or until the deadline.
func (s *Service) settle(ctx context.Context, inst bus.Installation, deadline time.Time, report func(Progress)) ([]pin, error) {
	began := time.Now()
	pins := make([]pin, inst.Shards)
	for shard := range pins {
		rec, err := s.lastShare(ctx, inst, shard)
		if err != nil {
			return nil, err
		}
		info, err := s.streamInfo(ctx, s.names.StreamRaw(shard))
		if err != nil {
			return nil, err
		}
		pins[shard] = pin{raw: info.State.LastSeq, start: rec.Proven}
	}
	for shard := range pins {
		p := &pins[shard]
		delay := 100 * time.Millisecond
		for have := p.start; have < p.raw; {
			report(Progress{Shard: shard, Step: "wait", Done: have, Of: p.raw})
			if time.Now().After(deadline) {
				p.stuck = have == p.start && time.Since(began) >= leastPatience
				break
			}
			if err := pause(ctx, delay); err != nil {
				return nil, err
			}
			delay = min(2*delay, time.Second)
			rec, err := s.lastShare(ctx, inst, shard)
			if err != nil {
				return nil, err
			}
			have = rec.Proven
		}
	}
	return pins, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// verifyShard compares one shard, and does so again while only dead letters are missing: they come a moment after the
// proof, since they are published once the verdict is.
func (s *Service) verifyShard(ctx context.Context, inst bus.Installation, shard int, p pin, deadline time.Time, report func(Progress)) (ShardReport, history, *findings, error) {
	for delay := 100 * time.Millisecond; ; delay *= 2 {
		shown, h, f, err := s.compareShard(ctx, inst, shard, p, report)
		if err != nil || !onlyDeadMissing(f) || time.Now().Add(delay).After(deadline) {
			return shown, h, f, err
		}
		if err := pause(ctx, delay); err != nil {
			return shown, h, f, err
		}
	}
}

func onlyDeadMissing(f *findings) bool {
	for _, x := range f.list {
		if x.Kind != KindDeadMissing {
			return false
		}
	}
	return len(f.list) > 0
}

func (s *Service) compareShard(ctx context.Context, inst bus.Installation, shard int, p pin, report func(Progress)) (ShardReport, history, *findings, error) {
	f := &findings{shard: shard, limit: maxFindings}
	rec, err := s.lastShare(ctx, inst, shard)
	if err != nil {
		return ShardReport{}, history{}, nil, err
	}
	shown := ShardReport{
		Shard: shard, Proven: rec.Proven,
		Accepted: rec.Totals.In, Rows: rec.Totals.Rows, Dead: rec.Totals.Dead, Repeats: rec.Totals.Repeats, Lost: rec.Totals.Lost,
	}
	if err := s.compareEnds(ctx, inst, shard, f); err != nil {
		return shown, history{}, nil, err
	}
	report(Progress{Shard: shard, Step: "ledger", Done: 0, Of: rec.Proven})
	h, err := s.readHistory(ctx, inst, shard, rec.Revision, f)
	if err != nil {
		return shown, history{}, nil, err
	}
	onTheWay, err := s.deadOnTheWay(ctx, shard, rec.Proven)
	if err != nil {
		return shown, history{}, nil, err
	}
	c := comparison{s: s, shard: shard, proven: rec.Proven, history: h, findings: f}
	err = c.run(ctx, onTheWay, func(done uint64) { report(Progress{Shard: shard, Step: "frames", Done: done, Of: rec.Proven}) })
	if err != nil {
		return shown, history{}, nil, err
	}
	report(Progress{Shard: shard, Step: "frames", Done: rec.Proven, Of: rec.Proven})
	shown.FramesFrom = c.framesFrom
	for _, x := range h.proofs {
		if !x.oldest {
			shown.LedgerFrom = x.first
			break
		}
	}
	if p.raw > rec.Proven {
		g, err := s.countGap(ctx, shard, rec.Proven+1, p.raw, 0)
		if err != nil {
			return shown, history{}, nil, err
		}
		shown.PendingFrames, shown.PendingEvents, shown.Estimated = p.raw-rec.Proven, g.events, g.estimated
	}
	return shown, h, f, nil
}

// compareEnds checks that nothing is ahead of what it was made from. It looks from ClickHouse towards RAW, so that
// what moves meanwhile cannot look wrong.
func (s *Service) compareEnds(ctx context.Context, inst bus.Installation, shard int, f *findings) error {
	highest, err := s.highest(ctx, shard)
	if err != nil {
		return err
	}
	rec, err := s.lastShare(ctx, inst, shard)
	if err != nil {
		return err
	}
	known := rec.Known()
	if highest > known {
		f.add(KindBeyond, known+1, highest, known, highest, fmt.Sprintf("ClickHouse has rows of frame %d, the ledger knows frames up to %d", highest, known))
	}
	enriched, err := s.streamInfo(ctx, s.names.StreamEnriched(shard))
	if err != nil {
		return err
	}
	raw, err := s.streamInfo(ctx, s.names.StreamRaw(shard))
	if err != nil {
		return err
	}
	checkpoint, err := s.lastCheckpoint(ctx, shard, enriched.State)
	if err != nil {
		return err
	}
	note, err := s.disagreement(ctx, inst, shard, rec, raw, enriched, checkpoint)
	if note != "" {
		f.add(KindWentBack, 0, 0, known, raw.State.LastSeq, note)
	}
	return err
}

func (s *Service) highest(ctx context.Context, shard int) (highest uint64, err error) {
	err = s.db.Rows(ctx, sqlHighest, map[string]string{"shard": fmt.Sprint(shard)}, 8, func(row []byte) error {
		highest = le64(row)
		return nil
	})
	return highest, err
}

// deadFloor is how far DEAD is acknowledged as being in ClickHouse, and its last message.
func (s *Service) deadFloor(ctx context.Context) (floor, last uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	consumer, err := s.js.Consumer(ctx, s.names.StreamDead(), s.names.DurableDeadLetters())
	switch {
	case err == nil:
		floor = consumer.CachedInfo().AckFloor.Stream
	case !errors.Is(err, jetstream.ErrConsumerNotFound):
		return 0, 0, fmt.Errorf("NATS: %w: look up consumer %s: %w", ErrUnavailable, s.names.DurableDeadLetters(), err)
	}
	info, err := s.streamInfo(ctx, s.names.StreamDead())
	if err != nil {
		return 0, 0, err
	}
	return floor, info.State.LastSeq, nil
}
