package recovery

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// message is one message of a stream; the body is its own.
type message struct {
	seq    uint64
	at     time.Time
	header nats.Header
	data   []byte
	// subject is that of a message of IN, which names its source.
	subject string
}

// silence is how long a message that a stream holds may take to come.
const silence = 30 * time.Second

// each yields what a stream holds of a subject ("": all), in order, up to what
// was its end when it was asked. A stream that does not exist holds nothing.
func each(ctx context.Context, js jetstream.JetStream, stream, subject string, from uint64) iter.Seq2[message, error] {
	return func(yield func(message, error) bool) {
		if err := follow(ctx, js, stream, subject, from, func(m message) bool { return yield(m, nil) }); err != nil {
			yield(message{}, err)
		}
	}
}

func follow(ctx context.Context, js jetstream.JetStream, stream, subject string, from uint64, yield func(message) bool) error {
	s, err := js.Stream(ctx, stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look up %s: %w", stream, err)
	}
	last := s.CachedInfo().State.LastSeq
	if subject != "" {
		msg, err := s.GetLastMsgForSubject(ctx, subject)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", stream, err)
		}
		last = msg.Sequence
	}
	if s.CachedInfo().State.Msgs == 0 || from > last {
		return nil
	}
	cfg := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: max(from, 1)}
	if subject != "" {
		cfg.FilterSubjects = []string{subject}
	}
	consumer, err := s.OrderedConsumer(ctx, cfg)
	if err != nil {
		return fmt.Errorf("read %s: %w", stream, err)
	}
	msgs, err := consumer.Messages(jetstream.PullMaxMessages(256))
	if err != nil {
		return fmt.Errorf("read %s: %w", stream, err)
	}
	defer msgs.Stop()
	for {
		next, cancel := context.WithTimeout(ctx, silence)
		msg, err := msgs.Next(jetstream.NextContext(next))
		cancel()
		if err != nil {
			return fmt.Errorf("read %s: %w", stream, err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return fmt.Errorf("read %s: %w", stream, err)
		}
		m := message{meta.Sequence.Stream, meta.Timestamp, nats.Header(msg.Headers()), msg.Data(), msg.Subject()}
		if m.seq > last || !yield(m) {
			return nil
		}
		// The last one may have been deleted by hand: then nothing follows.
		if m.seq == last || meta.NumPending == 0 {
			return nil
		}
	}
}

func extent(i *jetstream.StreamInfo) Extent {
	if i == nil {
		return Extent{Missing: true}
	}
	return Extent{First: i.State.FirstSeq, Last: i.State.LastSeq, Messages: i.State.Msgs}
}

// pair is what RAW and ENRICHED hold of one frame.
type pair struct {
	seq           uint64
	raw, enriched *message
}

// pairs walks both streams of a shard side by side.
func pairs(raw, enriched iter.Seq2[message, error]) iter.Seq2[pair, error] {
	return func(yield func(pair, error) bool) {
		nextRaw, stopRaw := iter.Pull2(raw)
		defer stopRaw()
		nextEnriched, stopEnriched := iter.Pull2(enriched)
		defer stopEnriched()
		r, err, okR := nextRaw()
		e, err2, okE := nextEnriched()
		for okR || okE {
			if err := errors.Join(err, err2); err != nil {
				yield(pair{}, err)
				return
			}
			p := pair{seq: ^uint64(0)}
			if okR {
				p.seq = r.seq
			}
			if okE {
				p.seq = min(p.seq, e.seq)
			}
			if okR && r.seq == p.seq {
				m := r
				p.raw = &m
				r, err, okR = nextRaw()
			}
			if okE && e.seq == p.seq {
				m := e
				p.enriched = &m
				e, err2, okE = nextEnriched()
			}
			if !yield(p, nil) {
				return
			}
		}
	}
}
