package ingester

import (
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/failpoint"
)

// The delays between attempts to publish a frame. NATS is back within
// milliseconds after a restart, and nobody waits longer than the hold time.
const (
	firstDelay = 25 * time.Millisecond
	lastDelay  = time.Second
	// lastChance is what is left for the last attempt.
	lastChance = 50 * time.Millisecond
)

// messageOverhead is what a RAW message takes in its stream beside the body:
// subject, headers and the store's record, about.
const messageOverhead = 256

// launch packs a frame, sends it and leaves the waiting to a goroutine. It
// runs in the lane's own goroutine, so that frames are sent in order.
func (l *lane) launch(p *outgoing) {
	if err := l.state(); err != nil {
		l.finish(p, 0, err)
		return
	}
	p.sent = failpoint.Now()
	if p.sent.After(p.until) { // its senders were told to repeat it
		l.m.framesGivenUp.Inc()
		l.finish(p, 0, errNoAck)
		return
	}
	l.native = p.block.AppendNative(l.native[:0])
	// Packing needs more room than it fills: what waits for its
	// acknowledgement takes no more than it must.
	l.packed = frame.Pack(l.packed, l.native)
	p.body = append(p.body[:0], l.packed...)
	// The same id with every attempt: JetStream stores one of them and answers
	// the others with the sequence of that one.
	id := crand.Text()
	p.header = nats.Header{
		nats.MsgIdHdr:    {id},
		bus.HeaderFrame:  {id},
		bus.HeaderCodec:  {strconv.Itoa(frame.Codec)},
		bus.HeaderEvents: {strconv.Itoa(p.block.Rows())},
	}
	a := l.send(p)
	// Ended by the acknowledgement, or at p.until.
	go l.see(p, a)
}

// attempt is one publication of a frame.
type attempt struct {
	future jetstream.PubAckFuture
	floor  uint64 // highest sequence acknowledged before it was sent
	err    error  // it was not even sent
}

func (l *lane) send(p *outgoing) attempt {
	l.mu.Lock()
	a := attempt{floor: l.acked}
	l.mu.Unlock()
	if a.err = failpoint.Error(failpoint.IngesterPublishBefore); a.err != nil {
		return a
	}
	// No retries inside the client: they would come after the frame was given
	// up, when its memory holds another one.
	a.future, a.err = l.js.PublishMsgAsync(&nats.Msg{Subject: l.subject, Header: p.header, Data: p.body}, jetstream.WithRetryAttempts(0))
	if a.err == nil {
		a.err = failpoint.Error(failpoint.IngesterPublishAfter)
	}
	return a
}

// see repeats a frame with growing delays until it is acknowledged, or nobody
// waits for it any more.
func (l *lane) see(p *outgoing, a attempt) {
	var cause error // the last thing heard
	for delay := firstDelay; ; delay = min(2*delay, lastDelay) {
		ack, err := l.ackOf(p, a)
		if err == nil {
			err = l.inspect(ack, a.floor)
		}
		switch {
		case err == nil:
			l.recovered()
			l.m.published(p)
			failpoint.At(failpoint.IngesterAckBefore)
			l.finish(p, ack.Sequence, nil)
			failpoint.At(failpoint.IngesterAckAfter)
			return
		case errors.Is(err, errShardClosed):
			l.finish(p, 0, err)
			return
		}
		if cause == nil || !errors.Is(err, nats.ErrTimeout) {
			cause = err
		}
		l.failed(err)
		left := l.left(p)
		if left <= lastChance {
			l.m.framesGivenUp.Inc()
			l.finish(p, 0, outcome(cause))
			return
		}
		// Up to half of it less by chance: all shards have lost the same NATS.
		time.Sleep(min(delay-rand.N(delay/2), left-lastChance)) //nolint:gosec // no secret
		if err := l.state(); err != nil {                       // another frame has found the log shorter
			l.finish(p, 0, err)
			return
		}
		l.m.republished.Inc()
		a = l.send(p)
	}
}

// left is for how long somebody waits for the frame. More than the hold time
// says that the clock was set back; its senders have begun to wait before.
func (l *lane) left(p *outgoing) time.Duration {
	if now := failpoint.Now(); p.until.Sub(now) > l.hold {
		p.until = now.Add(l.hold)
	}
	return failpoint.Until(p.until)
}

// ackOf waits for the acknowledgement of one attempt.
func (l *lane) ackOf(p *outgoing, a attempt) (*jetstream.PubAck, error) {
	if a.err != nil {
		return nil, a.err
	}
	// A third of the hold time, so that a lost acknowledgement leaves time to
	// ask again.
	timer := time.NewTimer(min(l.hold/3, max(l.left(p), 0)))
	defer timer.Stop()
	select {
	case ack := <-a.future.Ok():
		return ack, nil
	case err := <-a.future.Err():
		return nil, err
	case <-timer.C:
		return nil, nats.ErrTimeout
	}
}

// inspect closes the shard when its log went back: a sequence that is not
// above one acknowledged before this message was sent is being given twice.
func (l *lane) inspect(ack *jetstream.PubAck, floor uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed != nil:
		return l.closed
	case ack.Sequence == 0: // a cluster that is still deciding about a duplicate
		return fmt.Errorf("acknowledgement of %s without a sequence", l.stream)
	case ack.Duplicate || ack.Sequence > floor:
		return nil
	}
	l.closed = fmt.Errorf("shard %d: %w", l.shard, errShardClosed)
	l.m.lanes.Shut(l.shard, bus.StuckWentBack, errShardClosed.Error())
	l.m.shardsClosed.Inc()
	l.log.Error("the log of a shard went back and the shard is closed: stop the services and run `millrace recover`",
		"stream", l.stream, "seq", ack.Sequence, "acknowledged_before", floor)
	return l.closed
}

// outcome is what the senders of a frame that was given up are told.
func outcome(err error) error {
	if bus.IsFull(err) {
		return errShardFull
	}
	return fmt.Errorf("%w (%w)", errNoAck, err)
}

// failed logs the first of a row of failures.
func (l *lane) failed(err error) {
	l.mu.Lock()
	l.troubled = true
	l.m.lanes.Wait(l.shard, stuckReason(err), "frames are not acknowledged: "+err.Error())
	l.mu.Unlock()
	if times, due := l.lines.Again(); due {
		l.log.Warn("frames are not acknowledged; requests are held", "stream", l.stream, "times", times, "err", err)
	}
}

func (l *lane) recovered() {
	l.mu.Lock()
	if l.troubled {
		l.troubled = false
		l.m.lanes.Done(l.shard)
	}
	l.mu.Unlock()
	if times, lasted, was := l.lines.Over(); was {
		l.log.Info("frames are acknowledged again", "stream", l.stream, "times", times, "after", lasted.String())
	}
}
