package query

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// message is one message of a stream as readers here need it.
type message struct {
	seq    uint64
	at     time.Time // of JetStream
	header nats.Header
	data   []byte // nil when only headers were asked for
}

// span says which messages of a stream to read.
type span struct {
	stream  string
	subject string // "" is all
	from    uint64
	to      uint64 // the last one, which need not be there
	bodies  bool
}

// silence is how long a stream may give nothing before its state is looked at again.
const silence = 2 * time.Second

// messages yields the messages of a span in order, and then nothing or one error. Messages that are purged meanwhile are
// left out.
func (s *Service) messages(ctx context.Context, sp span) iter.Seq2[message, error] {
	return func(yield func(message, error) bool) {
		if err := s.eachMessage(ctx, sp, func(m message) bool { return yield(m, nil) }); err != nil {
			yield(message{}, err)
		}
	}
}

func (s *Service) eachMessage(ctx context.Context, sp span, take func(message) bool) error {
	info, err := s.streamInfo(ctx, sp.stream)
	if err != nil {
		return err
	}
	from := max(sp.from, info.State.FirstSeq, 1)
	if from > min(sp.to, info.State.LastSeq) || info.State.Msgs == 0 {
		return nil
	}
	cfg := jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from, HeadersOnly: !sp.bodies,
		InactiveThreshold: 30 * time.Second, MaxResetAttempts: 3,
	}
	if sp.subject != "" {
		cfg.FilterSubjects = []string{sp.subject}
	}
	open, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	consumer, err := s.js.OrderedConsumer(open, sp.stream, cfg)
	if err != nil {
		return fmt.Errorf("NATS: %w: read %s: %w", ErrUnavailable, sp.stream, err)
	}
	defer func() { // JetStream would keep it for InactiveThreshold
		done, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = s.js.DeleteConsumer(done, sp.stream, consumer.CachedInfo().Name)
	}()
	if consumer.CachedInfo().NumPending == 0 {
		return nil
	}
	msgs, err := consumer.Messages(jetstream.PullMaxMessages(2000))
	if err != nil {
		return fmt.Errorf("NATS: %w: read %s: %w", ErrUnavailable, sp.stream, err)
	}
	defer msgs.Stop()
	for quiet := 0; ; {
		msg, err := msgs.Next(jetstream.NextMaxWait(silence))
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, nats.ErrTimeout):
			// What is left of the span may have been purged; then nothing will come.
			if info, err := s.streamInfo(ctx, sp.stream); err == nil && info.State.FirstSeq > sp.to {
				return nil
			}
			if quiet++; quiet == 5 {
				return fmt.Errorf("NATS: %w: %s gives no message for %s", ErrUnavailable, sp.stream, 5*silence)
			}
			continue
		case err != nil:
			return fmt.Errorf("NATS: %w: read %s: %w", ErrUnavailable, sp.stream, err)
		}
		quiet = 0
		meta, err := msg.Metadata()
		if err != nil {
			return fmt.Errorf("read %s: %w", sp.stream, err)
		}
		seq := meta.Sequence.Stream
		if seq > sp.to {
			return nil
		}
		m := message{seq: seq, at: meta.Timestamp, header: msg.Headers()}
		if sp.bodies {
			m.data = msg.Data()
		}
		if !take(m) || seq == sp.to || meta.NumPending == 0 {
			return nil
		}
	}
}
