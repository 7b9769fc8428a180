package enricher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/failpoint"
	"github.com/millrace/millrace/libs/svc"
)

const (
	// drainTime is how long frames in flight are waited for when a shard is
	// given up. What is not acknowledged by then is answered by the next owner.
	drainTime = 10 * time.Second
	// lettersTime is how long the dead letters of answered frames are waited
	// for then: the next owner finds them.
	lettersTime = 2 * time.Second
	// A shut shard is looked at again after the first, at last after the last
	// delay.
	shutFirst = 500 * time.Millisecond
	shutLast  = 5 * time.Second
	// deathsShown is for how long it shows that processes died at the first
	// frame.
	deathsShown = time.Hour
)

// shard is one ownership of a shard after the other. Its loop owns all fields;
// the reader and the dead letters have goroutines of their own.
type shard struct {
	id         int
	cfg        *Config
	inst       bus.Installation
	names      bus.Names
	js         jetstream.JetStream
	kv         jetstream.KeyValue
	maxPayload int
	log        *slog.Logger
	m          *shardMetrics
	note       func(why error) // nil: the shard is open
	lanes      *svc.Lanes

	raw, enriched jetstream.Stream
	mill          *mill
	out           *outbox
	letters       *letters
	crash         crashLog
	in            chan *rawFrame

	next             uint64    // the sequence to answer
	held             *rawFrame // read, not answered yet
	lostBelow        uint64    // sequences from next to here are known to be missing
	received         time.Time // RAW's timestamp of the last frame
	refused, earlier uint64    // the last two frames with refused events
	careful          int       // frames still to be sent one at a time
	opened           time.Time // when this ownership began
	answered         audit     // the frame read last
	auditor          audit
}

// own works on the shard until ctx is done (and then returns ctx's error, after
// everything in flight was acknowledged), another owner is in the way
// ([ErrFenced]) or something fails. A shard that must stay shut is looked at
// again slowly.
func (s *shard) own(ctx context.Context) error {
	var lines svc.Repeated
	delay := shutFirst
	for {
		began := time.Now()
		err := s.once(ctx)
		if !errors.Is(err, ErrShut) {
			return err
		}
		if time.Since(began) > 2*shutLast { // it was open in between
			delay = shutFirst
			lines.Over()
		}
		s.note(err)
		s.m.shut.Inc()
		if times, due := lines.Again(); due {
			s.log.Error("the shard stays shut", "err", err, "times", times)
		}
		if errors.Is(err, errReplaced) {
			<-ctx.Done()
			return ctx.Err()
		}
		timer := time.NewTimer(delay/2 + rand.N(delay/2)) //nolint:gosec // no secret
		delay = min(2*delay, shutLast)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// once is one ownership from takeover to drain.
func (s *shard) once(ctx context.Context) error {
	s.note(errors.New("taking over"))
	failpoint.At(failpoint.EnricherTakeoverBefore)
	p, err := s.takeover(ctx)
	if err != nil {
		return err
	}
	failpoint.At(failpoint.EnricherTakeoverAfter)
	s.held, s.lostBelow, s.careful = nil, 0, 0
	s.answered, s.auditor = audit{}, audit{}
	s.crash = crashLog{kv: s.kv, key: s.names.KeyCrash(s.id), process: s.cfg.process}
	if err := s.crash.begin(ctx, p.last+1, p.checkpoint.Window, p.waiting); err != nil {
		return err
	}
	s.open(p)
	s.m.takeovers.Inc()
	// The record outlives the processes: a counter would not, and none of them
	// may live until it is scraped but the one that gets past the frame. That one
	// shows it for an hour.
	s.m.diedAt.Set(float64(max(0, s.crash.record.Count-1)))
	s.opened = failpoint.Now()
	if s.careful = s.crash.careful(); s.careful > 0 {
		s.m.deaths.Inc()
		s.log.Warn("the process died before it could answer this frame", "seq", s.next, "deaths", s.crash.record.Count-1)
	}

	reading, stopReading := context.WithCancel(ctx)
	defer stopReading()
	working, stopWorking := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWorking()
	var g errgroup.Group
	r := reader{js: s.js, stream: s.names.StreamRaw(s.id), log: s.log, m: s.m}
	g.Go(func() error { return r.run(reading, p.from, s.in) })    // ends with reading
	g.Go(func() error { s.letters.run(working); return nil })     // ends with working
	g.Go(func() error { s.letters.tell(working); return nil })    // ends with working
	g.Go(func() error { s.look(working); return nil })            // ends with working
	defer func() { stopReading(); stopWorking(); _ = g.Wait() }() // their only error is that they were told

	if err = s.readBack(ctx, p); err == nil {
		s.note(nil)
		s.log.Info("the shard is open", "seq", s.next)
		err = s.loop(ctx)
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	if ctx.Err() != nil {
		stopReading()
		s.drain(drain)
	}
	if left := s.crash.left(drain, s.out.acked+1); left != nil {
		s.log.Warn("the end of the ownership could not be noted", "err", left)
	}
	return err
}

// loop answers frames until ctx is done or the shard must be left.
func (s *shard) loop(ctx context.Context) error {
	tick := time.NewTicker(auditEvery)
	defer tick.Stop()
	for {
		if err := s.work(ctx); err != nil {
			return err
		}
		var in <-chan *rawFrame
		if s.held == nil {
			in = s.in
		}
		if err := s.await(ctx, in, tick.C); err != nil {
			return err
		}
	}
}

// await handles the next thing that happens: a frame of RAW, the fate of the
// oldest frame in flight, the time for an audit.
func (s *shard) await(ctx context.Context, in <-chan *rawFrame, tick <-chan time.Time) error {
	ok, failed := s.out.outcome()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case f, open := <-in:
		if !open {
			return ctx.Err()
		}
		s.held = f
	case <-ok:
		failpoint.At(failpoint.EnricherAckBefore)
		s.acknowledged(s.out.pop())
		failpoint.At(failpoint.EnricherAckAfter)
		s.out.recovered()
	case err := <-failed:
		return s.out.settle(ctx, err, s.acknowledged)
	case <-s.letters.moved:
	case <-tick:
		if failpoint.Due(s.opened, deathsShown) && s.out.acked >= s.crash.record.Seq {
			s.m.diedAt.Set(0)
		}
		if err := s.auditor.check(ctx, s.raw, s.answered.seq, s.answered.id); err != nil {
			return fmt.Errorf("shard %d: %w", s.id, err)
		}
	}
	return nil
}

// work answers the frame in hand, and before it those that are missing, as far
// as there is room.
func (s *shard) work(ctx context.Context) error {
	for s.held != nil {
		most := maxFlying
		if s.careful > 0 {
			most = 1
		}
		if !s.out.room(most) || s.letters.crowded() {
			return nil
		}
		switch f := s.held; {
		case f.seq < s.next:
			s.held = nil
			continue
		case f.seq > s.next:
			if err := s.proveLost(ctx, f.seq); err != nil {
				return err
			}
			s.answerLost()
		case f.codec > frame.Codec:
			s.note(fmt.Errorf("frame %d has codec %d, this build knows %d: %w", f.seq, f.codec, frame.Codec, errNewerCodec))
			return nil // and wait: what cannot be read is not dead
		default:
			s.answer(ctx, f)
			s.held = nil
		}
		s.next++
		s.careful = max(0, s.careful-1)
	}
	return nil
}

// answer enriches and publishes the frame that is next.
func (s *shard) answer(ctx context.Context, f *rawFrame) {
	body, v := s.mill.enrich(f, s.out.buffer(), s.crash.isolate(ctx, f.seq))
	if v.Undecodable {
		s.log.Error("a frame of RAW cannot be decoded and is dead", "seq", f.seq, "events", v.In, "err", v.Refused[0].Detail)
	}
	s.received, s.answered = f.received, audit{f.seq, f.id}
	s.send(f, body, &v)
	s.m.in(f, s.mill.seen, len(s.out.flying))
}

func (s *shard) answerLost() {
	s.log.Error("a frame of RAW is missing and was answered as lost", "seq", s.next)
	s.m.lost.Inc()
	v := frame.Verdict{Lost: true}
	s.send(&rawFrame{pending: s.held.pending}, s.mill.lost(s.out.buffer()), &v)
}

func (s *shard) send(f *rawFrame, body []byte, v *frame.Verdict) {
	if len(v.Refused) > 0 {
		s.earlier, s.refused = s.refused, s.next
	}
	c := frame.Checkpoint{
		Frame: f.id, Received: s.received, Refused: s.refused, Earlier: s.earlier,
		DeadOut: s.letters.out(), Writer: s.out.writer, Remembers: s.mill.seen.effective().Seconds(),
	}
	if c.Window, c.Before = s.mill.seen.window(); c.Window == 0 {
		c.Window = s.next
	}
	s.out.send(flight{seq: s.next, verdict: v, pending: f.pending, size: len(body), msg: s.out.message(s.next, body, v, &c)})
}

// acknowledged hands a stored frame's refusals on.
func (s *shard) acknowledged(f flight) {
	s.m.out(&f, len(s.out.flying))
	s.letters.passed(f.seq, f.verdict)
}

// proveLost makes sure that the stream itself says that next is missing, not
// only the consumer.
func (s *shard) proveLost(ctx context.Context, found uint64) error {
	if s.next < s.lostBelow {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	info, err := s.raw.Info(ctx, jetstream.WithDeletedDetails(true))
	if err != nil {
		return fmt.Errorf("look for the missing frame %d of RAW: %w", s.next, err)
	}
	below := min(max(info.State.FirstSeq, s.next), found)
	for below < found {
		if _, deleted := slices.BinarySearch(info.State.Deleted, below); !deleted {
			break
		}
		below++
	}
	if below == s.next {
		return fmt.Errorf("RAW holds frame %d but handed out %d", s.next, found)
	}
	s.lostBelow = below
	return nil
}

// drain waits for what is in flight and for the dead letters of what is
// stored.
func (s *shard) drain(ctx context.Context) {
	for len(s.out.flying) > 0 {
		if err := s.await(ctx, nil, nil); err != nil {
			s.log.Warn("frames in flight are left to the next owner", "frames", len(s.out.flying), "err", err)
			return
		}
	}
	ctx, cancel := context.WithTimeout(ctx, lettersTime)
	defer cancel()
	if !s.letters.drained(ctx) {
		s.log.Warn("dead letters are left to the next owner")
	}
}
