package ingester

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/textproto"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event"
	"github.com/millrace/millrace/libs/failpoint"
	"github.com/millrace/millrace/libs/svc"
	"github.com/millrace/millrace/services/ingester/dialect"
)

const (
	// pullMessages and pullBytes bound what one pull brings: what is parsed
	// and queued although a shard has filled up meanwhile. The bytes must be
	// above any single message, or it would never be delivered. The messages are
	// many, because a publisher may send single events and a pull costs a round
	// trip.
	pullMessages = 4096
	pullBytes    = 8 << 20
	// pullWait bounds how long stopping waits for a pull to end. A pull that
	// is given up early would leave its messages undelivered until AckWait.
	pullWait = 500 * time.Millisecond
	// crowdedBytes is what may wait in memory before the door stops pulling:
	// IN keeps messages as well, and it does so on disk.
	crowdedBytes = 3 * pullBytes
	// A full shard is looked at again after the first, at last after the last
	// wait. A pull that failed is tried again like a frame.
	crowdedWait     = 5 * time.Millisecond
	crowdedLastWait = 100 * time.Millisecond
	// lastNak bounds the delay of a message that could not be stored.
	lastNak = 30 * time.Second
	// turnNak is the delay, and half of it more by chance, of one whose source has
	// had its part: it has its turn in the next second, whatever number of them it
	// has missed.
	turnNak = time.Second
	// sparePull messages are pulled every spareWait while mostDelayed wait: more
	// than those that come again in that time, which NATS delivers before new ones,
	// and so few that they stay below MaxAckPending.
	sparePull = 256
	spareWait = 25 * time.Millisecond
	// mostDelayed messages may wait because their source is over its rate or its
	// fair share: NATS delivers no more to anybody than the consumer's
	// MaxAckPending (16,384, bus.Provision), and several ingesters share it.
	mostDelayed = 4_096
)

// pull takes messages from IN until ctx is done, and returns when all it took
// are in RAW or given back. Pulling stops while a shard is full: the messages
// wait in IN, and when that is full too, the publishers are refused.
func (d *door) pull(ctx context.Context, js jetstream.JetStream) error {
	var taken sync.WaitGroup
	defer taken.Wait()
	crowded, failed := crowdedWait, firstDelay
	var lines svc.Repeated
	for ctx.Err() == nil {
		var in jetstream.Consumer
		err := svc.Retry(ctx, d.log, "pull from the NATS door", func(ctx context.Context) (err error) {
			in, err = js.Consumer(ctx, d.inst.Names.StreamIn(), d.inst.Names.DurableIngester())
			return err
		})
		if err != nil {
			break // only ctx ends the retrying
		}
		for ctx.Err() == nil {
			if d.crowded() != nil {
				pause(ctx, crowded)
				crowded = min(2*crowded, crowdedLastWait)
				continue
			}
			crowded = crowdedWait
			most, spares := pullMessages, d.spares()
			if spares {
				most = sparePull
			}
			err := d.pullOnce(in, most, &taken)
			if err == nil {
				failed = firstDelay
				lines.Over()
				if spares {
					pause(ctx, spareWait)
				}
				continue
			}
			d.m.retries[stepPull].Inc()
			if times, due := lines.Again(); due {
				d.log.Warn("a pull from the NATS door failed", "times", times, "err", err)
			}
			pause(ctx, failed)
			failed = min(2*failed, lastDelay)
			break
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// pullOnce takes the messages of one pull.
func (d *door) pullOnce(in jetstream.Consumer, most int, taken *sync.WaitGroup) error {
	batch, err := in.Fetch(most, jetstream.FetchMaxBytes(pullBytes), jetstream.FetchMaxWait(pullWait))
	if err != nil {
		return err
	}
	for msg := range batch.Messages() {
		taken.Add(1)
		d.takeMessage(msg, taken.Done)
	}
	return batch.Error()
}

// takeMessage stores the events of one message and acknowledges it once RAW
// has them. A message without any way to be stored now is given back; none is
// ever dropped: its publisher has its acknowledgement.
func (d *door) takeMessage(msg jetstream.Msg, finished func()) {
	meta, err := msg.Metadata()
	if err != nil { // not from JetStream: nobody was promised anything
		d.log.Warn("a message without JetStream's reply subject is left out", "subject", msg.Subject(), "err", err)
		finished()
		return
	}
	in := d.intakes.Get().(*intake)
	defer d.intakes.Put(in)
	spent, err := d.readMessage(in, msg, meta.Sequence.Stream)
	defer func() { d.budget.free(spent) }()
	accepted, refused := in.accepted, in.refusedBy()
	if err == nil {
		err = d.put(in, failpoint.Now().Add(d.cfg.Hold), func(_ bus.Receipt, err error) {
			defer finished()
			if err != nil {
				d.giveBack(msg, meta.NumDelivered, err)
				return
			}
			// A lost acknowledgement brings the message again, and its events
			// are repeats then.
			failpoint.At(failpoint.IngesterInAckBefore)
			if err := msg.Ack(); err != nil {
				d.log.Debug("a message is not acknowledged", "in_seq", meta.Sequence.Stream, "err", err)
			}
			failpoint.At(failpoint.IngesterInAckAfter)
			d.acked.Add(1)
			d.m.messages[messageStored].Inc()
			d.m.stored(doorNATS, accepted, refused)
		})
	}
	if err != nil {
		d.giveBack(msg, meta.NumDelivered, err)
		finished()
	}
}

// readMessage makes rows of a message. Whatever is wrong with it becomes a
// refused event with the original bytes; an error is one of the door.
func (d *door) readMessage(in *intake, msg jetstream.Msg, seq uint64) (spent int64, err error) {
	wire := msg.Data()
	if !d.budget.take(int64(len(wire))) {
		return 0, errBusy
	}
	spent = int64(len(wire))
	source := d.inst.Names.SourceOf(msg.Subject())
	from := origin{door: doorNATS, source: source, inSeq: seq, life: d.inst.InLife(seq), ndjson: isNDJSON(header(msg, "Content-Type"))}
	if err := bus.ValidSource(source); err != nil {
		from.source = invalidSource
		in.start(from)
		in.refuseWhole(wire, event.ReasonMalformed, fmt.Sprintf("subject %q: %v", msg.Subject(), err))
		return spent, nil
	}
	in.start(from)
	h, label := httpHeader(msg.Headers()), header(msg, "Content-Encoding")
	encoding := labelled(label)
	if !isOpaque(h) {
		encoding = encodingOf(label, wire)
	}
	body, more, err := d.decode(in, encoding, wire)
	spent += more
	switch {
	case err != nil:
	case isCloudEvent(h):
		more, err = d.readCloudEvents(in, h, body)
		spent += more
	default:
		err = in.read(body)
	}
	if err != nil && !errors.Is(err, errBusy) {
		reason, detail := wholeBody(err)
		in.refuseWhole(wire, reason, detail)
		err = nil
	}
	return spent, err
}

// readCloudEvents makes rows of a message that is CloudEvents by its headers: structured or batched by Content-Type, or
// binary (ce-...).
func (d *door) readCloudEvents(in *intake, h http.Header, body []byte) (spent int64, err error) {
	// In binary mode over NATS the type of the data has a header of its own, where HTTP has Content-Type.
	if kind := h.Get("Ce-Datacontenttype"); kind != "" && h.Get("Content-Type") == "" {
		h.Set("Content-Type", kind)
	}
	m, spent, err := d.mapped(d.mappers[tongueCloudEvents], &dialect.Request{Path: pathCloudEvents, Header: h, Body: body})
	if err == nil {
		in.take(m)
	}
	return spent, err
}

// httpHeader is a message's headers as HTTP writes them; nil when there are none.
func httpHeader(headers nats.Header) http.Header {
	if len(headers) == 0 {
		return nil
	}
	h := make(http.Header, len(headers))
	for name, values := range headers {
		name = textproto.CanonicalMIMEHeaderKey(name)
		h[name] = append(h[name], values...)
	}
	return h
}

// invalidSource stands for a subject's token that cannot be a source: who may
// publish what is a matter of NATS's permissions, so the message is kept as a
// dead letter.
const invalidSource = "invalid"

// delayOf is after what while a message comes again that was delivered so many
// times: it grows with every delivery, but not while only its source has had its
// part (hadPart). Over its rate it does not come before the rate may allow it.
func delayOf(delivered uint64, cause error) (delay time.Duration, hadPart bool) {
	p, overRate := errors.AsType[*problem](cause)
	if !overRate && !errors.Is(cause, errFairShare) {
		return min(100*time.Millisecond<<min(delivered, 10), lastNak), false
	}
	delay = turnNak
	if overRate {
		delay = min(max(delay, time.Duration(p.retryAfter)*time.Second), lastNak)
	}
	return delay + rand.N(turnNak/2), true //nolint:gosec // no secret
}

// giveBack lets a message come again after a while.
func (d *door) giveBack(msg jetstream.Msg, delivered uint64, cause error) {
	d.m.messages[messageDelayed].Inc()
	delay, hadPart := delayOf(delivered, cause)
	if hadPart {
		d.delayed.Add(1)
		time.AfterFunc(delay, func() { d.delayed.Add(-1) })
	}
	if err := msg.NakWithDelay(delay); err != nil {
		// It comes again anyway, when AckWait is over.
		d.log.Debug("a message is not given back", "err", err)
	}
	d.log.Debug("a message could not be stored and comes again", "delay", delay.String(), "err", cause)
}

// header finds a header of a NATS message whatever its case: publishers in
// other languages do not all write it as HTTP does.
func header(msg jetstream.Msg, name string) string { return headerOf(msg.Headers(), name) }

func headerOf(h nats.Header, name string) string {
	if v := h.Get(name); v != "" {
		return v
	}
	for key, values := range h {
		if len(values) > 0 && strings.EqualFold(key, name) {
			return values[0]
		}
	}
	return ""
}
