package enricher

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/failpoint"
	"github.com/millrace/millrace/libs/svc"
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
	// How often it is looked whether a frame has said how far the letters are
	// out, and how often it is said again where the bucket forgets.
	tellEvery = 2 * time.Second
	tellLast  = 15 * time.Second // between two that fail
	tellAgain = 10 * time.Minute
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
	kv         jetstream.KeyValue
	raw        jetstream.Stream
	enriched   jetstream.Stream
	inst       bus.Installation
	shard      int
	maxPayload int
	log        *slog.Logger
	m          *shardMetrics
	// waits, if set, hears why the letters are not getting out, nil when they are.
	waits func(err error)
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
	said   uint64        // what the last frame says
	buried uint64        // the last frame whose letters went out here
	idle   chan struct{} // closed while nothing is to be done; else nil or open
}

func newLetters(s *shard, p position) *letters {
	return &letters{
		js: s.js, kv: s.kv, raw: s.raw, enriched: s.enriched, inst: s.inst, shard: s.id, maxPayload: s.maxPayload,
		log: s.log, m: s.m, waits: s.lettersWait, start: p, acked: p.last, said: p.checkpoint.DeadOut, view: frame.NewView(frame.RawSchema),
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

// out is the last frame up to which all dead letters are in DEAD, for the
// checkpoint of the next frame.
func (l *letters) out() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said = l.reached()
	return l.said
}

// answered is the last frame that is stored.
func (l *letters) answered() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acked
}

// reached is what out says; mu is held.
func (l *letters) reached() uint64 {
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
	l.tellWaits(nil) // what the ownership before this one said
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
		l.buried = next.seq
		l.queue[0] = burial{}
		l.queue = l.queue[1:]
		l.changed()
		l.mu.Unlock()
		token(l.moved)
	}
}

// tell says in the bucket how far the letters are out while no frame says it,
// until ctx is done. Without that, letters that were late could not be told of
// when RAW is full: nothing could be trimmed then, so no frame would ever come.
func (l *letters) tell(ctx context.Context) {
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	var told uint64
	var at time.Time
	pause, until := tellEvery, time.Time{}
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if time.Now().Before(until) {
			continue
		}
		l.mu.Lock()
		reached, news := l.reached(), l.buried > l.said
		l.mu.Unlock()
		if !news || reached == told && !failpoint.Due(at, tellAgain) {
			continue
		}
		call, cancel := context.WithTimeout(ctx, apiTimeout)
		failpoint.At(failpoint.EnricherDeadOutBefore)
		err := bus.PutDeadOut(call, l.kv, l.inst, l.shard, reached)
		failpoint.At(failpoint.EnricherDeadOutAfter)
		cancel()
		if err != nil { // NATS is away
			l.log.Debug("how far dead letters are out is not known to others", "err", err)
			pause = min(2*pause, tellLast)
			until = time.Now().Add(pause)
			continue
		}
		pause = tellEvery
		told, at = reached, failpoint.Now()
	}
}

// retry repeats do with growing delays until it succeeds; false when ctx ended
// first.
func (l *letters) retry(ctx context.Context, do func() error) bool {
	var wait delay
	var lines svc.Repeated
	for {
		err := do()
		if err == nil {
			if _, _, was := lines.Over(); was {
				l.m.deadFull.Set(0)
				l.tellWaits(nil)
			}
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		l.m.deadRetries.Inc()
		l.tellWaits(err)
		if bus.IsFull(err) {
			l.m.deadFull.Set(1)
		}
		if times, due := lines.Again(); due {
			l.log.Warn("dead letters wait", "stream_full", bus.IsFull(err), "times", times, "err", err)
		}
		if !wait.sleep(ctx) {
			return false
		}
	}
}

func (l *letters) tellWaits(err error) {
	if l.waits != nil {
		l.waits(err)
	}
}

// walk follows the links of the checkpoints back to where the dead letters are
// known to be out: what the last owner may have left undone.
func (l *letters) walk(ctx context.Context) error {
	// Where no frame could say it, the last owner has told it, and frames up to
	// there may be trimmed by now.
	call, cancel := context.WithTimeout(ctx, apiTimeout)
	told, err := bus.DeadOut(call, l.kv, l.inst, l.shard)
	cancel()
	if err != nil {
		return err
	}
	var found []burial
	c := l.start.checkpoint
	known := max(c.DeadOut, told)
	for seq := c.Refused; seq > c.DeadOut && seq > known; seq = c.Earlier {
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
	for _, b := range slices.Backward(found) {
		queue = append(queue, b)
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
