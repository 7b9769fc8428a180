package enricher

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/failpoint"
)

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
	if err := failpoint.Error(failpoint.EnricherLetterBefore); err != nil {
		return err
	}
	acks := make([]jetstream.PubAckFuture, 0, len(batch))
	for i := range batch {
		d := &batch[i]
		if room := l.maxPayload - letterHeaders; len(d.Original) > room {
			d.Detail = fmt.Sprintf("cut after %d of %d bytes, RAW holds the rest; %s", room, len(d.Original), d.Detail)
			d.Original = d.Original[:room]
		}
		if err := failpoint.Error(failpoint.EnricherLetterSendBefore); err != nil {
			return err
		}
		ack, err := l.js.PublishMsgAsync(d.Msg(l.inst.Names))
		if err == nil {
			err = failpoint.Error(failpoint.EnricherLetterSendAfter)
		}
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
	if err := failpoint.Error(failpoint.EnricherLetterAfter); err != nil {
		return err
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
