package enricher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// maxBurials frames with refusals may wait for DEAD before answering
	// stops: 8 bytes each, the rest is read again when their turn comes.
	maxBurials = 1 << 20
	// keptVerdicts of them are kept in memory, so that a frame with a bad event
	// costs one read, of RAW.
	keptVerdicts = 256
	// lettersFlying dead letters are published before the first is waited for.
	lettersFlying = 256
	// letterHeaders is more than the headers of a dead letter take.
	letterHeaders = 4 << 10
)

// burial is a stored frame whose refused events are to become dead letters.
type burial struct {
	seq     uint64
	verdict *frame.Verdict // nil: read ENRICHED
}

// letters projects the refused events of answered frames into DEAD, in the
// order of the frames. What a dead letter says is a function of RAW and of the
// verdict that was stored before, so doing it twice changes nothing: the
// identity is the same, and readers count identities.
type letters struct {
	js         jetstream.JetStream
	raw        jetstream.Stream
	enriched   jetstream.Stream
	inst       bus.Installation
	shard      int
	maxPayload int
	log        *slog.Logger
	m          *shardMetrics
	// moved has a token after the queue became shorter.
	moved chan struct{}
	wake  chan struct{} // has a token after it became longer

	// start is where the links of the checkpoints are followed from.
	start  position
	view   *frame.View
	unpack []byte

	mu     sync.Mutex // guards all below
	queue  []burial   // without those before start's frame until walked
	walked bool
	acked  uint64
	idle   chan struct{} // closed while nothing is to be done; else nil or open
}

func newLetters(s *shard, p position) *letters {
	return &letters{
		js: s.js, raw: s.raw, enriched: s.enriched, inst: s.inst, shard: s.id, maxPayload: s.maxPayload,
		log: s.log, m: s.m, start: p, acked: p.last, view: frame.NewView(frame.RawSchema),
		moved: make(chan struct{}, 1), wake: make(chan struct{}, 1), idle: make(chan struct{}),
	}
}

// passed notes that a frame is stored.
func (l *letters) passed(seq uint64, v *frame.Verdict) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked = seq
	if len(v.Refused) == 0 {
		return
	}
	if len(l.queue) >= keptVerdicts {
		v = nil
	}
	l.queue = append(l.queue, burial{seq, v})
	l.changed()
	token(l.wake)
}

// out is the last frame up to which all dead letters are in DEAD.
func (l *letters) out() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !l.walked:
		return l.start.checkpoint.DeadOut
	case len(l.queue) > 0:
		return l.queue[0].seq - 1
	}
	return l.acked
}

// crowded says that no further refusals should be made for now.
func (l *letters) crowded() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue) >= maxBurials
}

// drained waits until nothing is left to do; false when ctx ended first.
func (l *letters) drained(ctx context.Context) bool {
	for {
		l.mu.Lock()
		idle, done := l.idle, l.walked && len(l.queue) == 0
		l.mu.Unlock()
		if done {
			return true
		}
		select {
		case <-idle:
		case <-ctx.Done():
			return false
		}
	}
}

// changed keeps idle in step; mu is held.
func (l *letters) changed() {
	l.m.deadWaiting.Set(float64(len(l.queue)))
	if l.walked && len(l.queue) == 0 {
		close(l.idle)
		l.idle = make(chan struct{})
	}
}

func token(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// run projects until ctx is done.
func (l *letters) run(ctx context.Context) {
	l.retry(ctx, func() error { return l.walk(ctx) })
	for ctx.Err() == nil {
		l.mu.Lock()
		var next burial
		if len(l.queue) > 0 {
			next = l.queue[0]
		}
		l.mu.Unlock()
		if next.seq == 0 {
			select {
			case <-l.wake:
			case <-ctx.Done():
			}
			continue
		}
		if !l.retry(ctx, func() error { return l.bury(ctx, next) }) {
			return
		}
		l.mu.Lock()
		l.queue[0] = burial{}
		l.queue = l.queue[1:]
		l.changed()
		l.mu.Unlock()
		token(l.moved)
	}
}

// retry repeats do with growing delays until it succeeds; false when ctx ended
// first.
func (l *letters) retry(ctx context.Context, do func() error) bool {
	var wait delay
	for {
		err := do()
		if err == nil {
			l.m.deadFull.Set(0)
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		l.m.deadRetries.Inc()
		if isFull(err) {
			l.m.deadFull.Set(1)
		}
		if wait.first() {
			l.log.Warn("dead letters wait", "stream_full", isFull(err), "err", err)
		}
		if !wait.sleep(ctx) {
			return false
		}
	}
}

// walk follows the links of the checkpoints back to where the dead letters are
// known to be out: what the last owner may have left undone.
func (l *letters) walk(ctx context.Context) error {
	var found []burial
	c := l.start.checkpoint
	for seq := c.Refused; seq > c.DeadOut && seq > l.start.checkpoint.DeadOut; seq = c.Earlier {
		msg, isGone, err := l.find(ctx, l.enriched, seq)
		if isGone {
			l.m.deadLost.Inc()
			l.log.Error("a frame with refusals was trimmed before its dead letters were out; those before it are unknown", "seq", seq)
			break
		}
		if err != nil {
			return err
		}
		c = frame.Checkpoint{}
		if err := frame.Decode(msg.Header.Get(bus.HeaderCheckpoint), &c); err != nil {
			return err
		}
		found = append(found, burial{seq: seq})
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	queue := make([]burial, 0, len(found)+len(l.queue))
	for i := len(found) - 1; i >= 0; i-- {
		queue = append(queue, found[i])
	}
	l.queue, l.walked = append(queue, l.queue...), true
	l.changed()
	return nil
}

// find reads a message, or makes sure that it is gone.
func (l *letters) find(ctx context.Context, stream jetstream.Stream, seq uint64) (msg *jetstream.RawStreamMsg, isGone bool, err error) {
	msg, err = fetch(ctx, stream, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		if isGone, err2 := gone(ctx, stream, seq); isGone || err2 != nil {
			return nil, isGone, err2
		}
	}
	return msg, false, err
}

// bury publishes the dead letters of one frame and waits for all of them.
func (l *letters) bury(ctx context.Context, b burial) error {
	v := b.verdict
	if v == nil {
		msg, err := fetch(ctx, l.enriched, b.seq)
		if err != nil {
			return err
		}
		v = &frame.Verdict{}
		if err := frame.Decode(msg.Header.Get(bus.HeaderVerdict), v); err != nil {
			return err
		}
	}
	msg, isGone, err := l.find(ctx, l.raw, b.seq)
	if isGone {
		l.m.deadLost.Add(float64(v.Dead()))
		l.log.Error("a frame of RAW is gone before its dead letters were out", "seq", b.seq, "events", v.Dead())
		return nil
	}
	if err != nil {
		return err
	}
	letter := bus.DeadLetter{
		Incarnation: l.inst.Incarnation, Place: bus.Place{Shard: l.shard, Seq: b.seq}, Events: 1, Received: msg.Time,
	}
	if v.Undecodable {
		r := v.Refused[0]
		letter.Events, letter.Stage, letter.Reason, letter.Detail, letter.Original = v.In, r.Stage, r.Reason, r.Detail, msg.Data
		return l.publish(ctx, []bus.DeadLetter{letter})
	}
	native, err := frame.Unpack(l.unpack, msg.Data)
	if err == nil {
		l.unpack = native
		err = l.view.Parse(native)
	}
	if err != nil {
		return fmt.Errorf("read RAW at %d: %w", b.seq, err)
	}
	return l.project(ctx, letter, v)
}

// project makes and publishes the letters of a readable frame, a handful at a
// time.
func (l *letters) project(ctx context.Context, letter bus.DeadLetter, v *frame.Verdict) error {
	batch := make([]bus.DeadLetter, 0, lettersFlying)
	var failed error
	err := v.Each(func(idx int, r *frame.Refused) bool {
		if idx >= l.view.Rows() {
			failed = fmt.Errorf("the verdict of frame %d names event %d of %d", letter.Seq, idx, l.view.Rows())
			return false
		}
		letter.Idx, letter.Stage, letter.Reason, letter.Detail = idx, r.Stage, r.Reason, r.Detail
		if r.Stage == stageDoor {
			letter.Detail = string(l.view.Str(frame.RawDetail, idx))
		}
		letter.Source = string(l.view.Str(frame.RawSource, idx))
		letter.Original = l.view.Str(frame.RawBody, idx)
		if batch = append(batch, letter); len(batch) == cap(batch) {
			failed = l.publish(ctx, batch)
			batch = batch[:0]
		}
		return failed == nil
	})
	if err = errors.Join(failed, err); err != nil {
		return err
	}
	return l.publish(ctx, batch)
}

// publish sends letters and waits for every acknowledgement.
func (l *letters) publish(ctx context.Context, batch []bus.DeadLetter) error {
	acks := make([]jetstream.PubAckFuture, 0, len(batch))
	for i := range batch {
		d := &batch[i]
		if room := l.maxPayload - letterHeaders; len(d.Original) > room {
			d.Detail = fmt.Sprintf("cut after %d of %d bytes, RAW holds the rest; %s", room, len(d.Original), d.Detail)
			d.Original = d.Original[:room]
		}
		ack, err := l.js.PublishMsgAsync(d.Msg(l.inst.Names))
		if err != nil {
			return fmt.Errorf("publish dead letter %s: %w", d.Identity(), err)
		}
		acks = append(acks, ack)
	}
	for i, ack := range acks {
		select {
		case <-ack.Ok():
		case err := <-ack.Err():
			return fmt.Errorf("publish dead letter %s: %w", batch[i].Identity(), err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for i := range batch {
		l.m.dead(&batch[i])
	}
	return nil
}

// reasonLabel keeps the metric's label to the closed set.
func reasonLabel(reason string) string {
	if event.Reason(reason).Valid() {
		return reason
	}
	return "other"
}
