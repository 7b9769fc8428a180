package enricher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/failpoint"
	"github.com/millrace/millrace/libs/svc"
)

// What may wait for its acknowledgement, per shard.
const (
	maxFlying      = 64
	maxFlyingBytes = 16 << 20
)

// flight is one ENRICHED frame from its publish to its acknowledgement. It is
// kept whole, so that it can be published again, equal to the last byte.
type flight struct {
	seq     uint64
	msg     *nats.Msg
	verdict *frame.Verdict
	pending uint64 // frames of RAW after it, when it was read
	size    int    // bytes of its body
	ack     jetstream.PubAckFuture
	err     error // it could not even be sent
}

// outbox publishes the frames of one ownership in sequence, many at a time.
// Frame n expects n-1 to be the last one: the server stores them in order or
// not at all. It is owned by the shard's loop.
type outbox struct {
	js      jetstream.JetStream
	stream  jetstream.Stream
	subject string
	writer  string // random, one an ownership
	log     *slog.Logger
	m       *shardMetrics
	// troubled, if set, hears what keeps frames from being acknowledged, nil when
	// they are.
	troubled func(err error)
	lines    svc.Repeated

	acked  uint64 // ENRICHED's last sequence as far as it is known
	flying []flight
	bytes  int
	spare  [][]byte // bodies to be used again
	wait   delay
}

// buffer returns memory for the next body.
func (o *outbox) buffer() []byte {
	if n := len(o.spare); n > 0 {
		b := o.spare[n-1]
		o.spare = o.spare[:n-1]
		return b
	}
	return nil
}

// room says whether another frame may be sent.
func (o *outbox) room(most int) bool {
	return len(o.flying) < most && (o.bytes < maxFlyingBytes || len(o.flying) == 0)
}

// send publishes the frame that follows the last one.
func (o *outbox) send(f flight) {
	o.publish(&f)
	o.flying = append(o.flying, f)
	o.bytes += cap(f.msg.Data)
	o.m.flying.Set(float64(len(o.flying)))
}

func (o *outbox) publish(f *flight) {
	// No retries inside the client: they would arrive out of order.
	if f.err = failpoint.Error(failpoint.EnricherPublishBefore); f.err != nil {
		return
	}
	if f.ack, f.err = o.js.PublishMsgAsync(f.msg, jetstream.WithRetryAttempts(0)); f.err == nil {
		f.err = failpoint.Error(failpoint.EnricherPublishAfter)
	}
}

// message is the frame as it is published.
func (o *outbox) message(seq uint64, body []byte, v *frame.Verdict, c *frame.Checkpoint) *nats.Msg {
	return &nats.Msg{Subject: o.subject, Data: body, Header: nats.Header{
		jetstream.ExpectedLastSeqHeader: {strconv.FormatUint(seq-1, 10)},
		bus.HeaderCodec:                 {strconv.Itoa(frame.Codec)},
		bus.HeaderVerdict:               {frame.Encode(v)},
		bus.HeaderCheckpoint:            {frame.Encode(c)},
	}}
}

// outcome returns the channels on which the fate of the oldest frame in flight
// arrives.
func (o *outbox) outcome() (ok <-chan *jetstream.PubAck, failed <-chan error) {
	if len(o.flying) == 0 {
		return nil, nil
	}
	f := &o.flying[0]
	if f.err != nil {
		ch := make(chan error, 1)
		ch <- f.err
		return nil, ch
	}
	return f.ack.Ok(), f.ack.Err()
}

// pop takes the oldest frame off: it is stored.
func (o *outbox) pop() flight {
	f := o.flying[0]
	o.flying[0] = flight{}
	o.flying = o.flying[1:]
	o.acked = f.seq
	o.bytes -= cap(f.msg.Data)
	if len(o.spare) < maxFlying {
		o.spare = append(o.spare, f.msg.Data)
	}
	f.msg = nil
	o.m.flying.Set(float64(len(o.flying)))
	return f
}

// settle finds out what became of the frames in flight after the oldest one
// failed, and publishes again what ENRICHED does not hold. done is called for
// those that it does. A failure may mean anything: refused, lost, or stored
// while its acknowledgement was lost; only the stream knows. It returns an
// error when the shard must be left, or ctx's.
func (o *outbox) settle(ctx context.Context, cause error, done func(flight)) error {
	failpoint.At(failpoint.EnricherSettleBefore)
	// Its future has told its fate and will not tell it again; should ctx end
	// here, the drain must still hear of it.
	o.flying[0].err = cause
	full := bus.IsFull(cause)
	if full {
		o.m.enrichedFull.Set(1)
	}
	o.m.republished.Inc()
	o.tell(cause)
	if times, due := o.lines.Again(); due {
		o.log.Warn("frames are not acknowledged and will be published again", "seq", o.flying[0].seq, "stream_full", full, "times", times, "err", cause)
	}
	for {
		if !o.wait.sleep(ctx) {
			return ctx.Err()
		}
		last, err := o.last(ctx)
		switch {
		case errors.Is(err, ErrShut), errors.Is(err, ErrFenced):
			return err
		case err != nil: // NATS is away, which the warning above has said
			continue
		}
		for len(o.flying) > 0 && o.flying[0].seq <= last {
			done(o.pop())
		}
		if len(o.flying) == 0 { // no acknowledgement is left to say so
			o.recovered()
		}
		for i := range o.flying {
			o.publish(&o.flying[i])
		}
		failpoint.At(failpoint.EnricherSettleAfter)
		return nil
	}
}

// last is ENRICHED's last sequence, if all up to it is ours.
func (o *outbox) last(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	info, err := o.stream.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("look up the end of ENRICHED: %w", err)
	}
	last := info.State.LastSeq
	if last == o.acked {
		return last, nil
	}
	if last < o.acked {
		return 0, fmt.Errorf("%w: ENRICHED ends at %d, frame %d was acknowledged", ErrShut, last, o.acked)
	}
	// Each of them: between two of a twin's frames one of ours, sent long ago,
	// may have found its place. What was answered there is the twin's word.
	for seq := o.acked + 1; seq <= last; seq++ {
		msg, err := fetch(ctx, o.stream, seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return 0, fmt.Errorf("%w (frame %d is trimmed, whoever wrote it)", ErrFenced, seq)
		}
		if err != nil {
			return 0, err
		}
		var c frame.Checkpoint
		if err := frame.Decode(msg.Header.Get(bus.HeaderCheckpoint), &c); err != nil {
			return 0, err
		}
		if c.Writer != o.writer {
			return 0, fmt.Errorf("%w (frame %d)", ErrFenced, seq)
		}
	}
	return last, nil
}

func (o *outbox) tell(err error) {
	if o.troubled != nil {
		o.troubled(err)
	}
}

// recovered notes an acknowledgement after trouble.
func (o *outbox) recovered() {
	if !o.wait.first() {
		o.wait.reset()
		o.m.enrichedFull.Set(0)
		o.tell(nil)
		times, lasted, _ := o.lines.Over()
		o.log.Info("frames are acknowledged again", "seq", o.acked, "times", times, "after", lasted.String())
	}
}
