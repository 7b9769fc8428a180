package indexer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// pace says when a batch is cut. A quiet shard is cut soon, so that rows are
// visible soon; a busy one waits longer, because ClickHouse pays for every
// part it must merge (benchmarks: 10k-row inserts cost 2.5 times the CPU of
// 100k-row ones).
type pace struct {
	minAge, maxAge time.Duration
	maxRows        int
	maxBytes       int
}

// busyRows is the number of rows a second of one shard from which its batches
// wait for maxAge.
const busyRows = 25_000

func (p pace) full(b *batch) bool {
	return b.rows.Rows() >= p.maxRows || b.rows.Size() >= p.maxBytes
}

// wait is how much longer the batch should collect.
func (p pace) wait(b *batch, now time.Time) time.Duration {
	if p.full(b) {
		return 0
	}
	age := now.Sub(b.started)
	rate := float64(b.rows.Rows()) / max(age, 20*time.Millisecond).Seconds()
	want := p.minAge + time.Duration(min(rate/busyRows, 1)*float64(p.maxAge-p.minAge))
	return max(0, want-age)
}

// read collects frames from the sequence `from` into batches and hands them
// to out. While the committer is busy the batch in hand grows up to the pace's
// limits, and then reading stops: that is the backpressure. It ends with ctx
// or an error; batches come back through free.
func (s *shard) read(ctx context.Context, from uint64, free <-chan *batch, out chan<- *batch) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	consumer, err := s.js.OrderedConsumer(ctx, s.names.StreamEnriched(s.id), jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from,
	})
	if err != nil {
		return fmt.Errorf("read %s from %d: %w", s.names.StreamEnriched(s.id), from, err)
	}
	msgs, err := consumer.Messages(jetstream.PullMaxMessages(256))
	if err != nil {
		return fmt.Errorf("read %s from %d: %w", s.names.StreamEnriched(s.id), from, err)
	}
	context.AfterFunc(ctx, msgs.Stop)
	frames := make(chan jetstream.Msg, 64) // decouples the network from decoding
	failed := make(chan error, 1)
	go func() { // ends when msgs.Stop was called
		defer close(frames)
		for {
			msg, err := msgs.Next()
			if err != nil {
				failed <- err
				return
			}
			select {
			case frames <- msg:
			case <-ctx.Done():
				failed <- ctx.Err()
				return
			}
		}
	}()
	return s.collect(ctx, from, frames, failed, free, out)
}

func (s *shard) collect(ctx context.Context, next uint64, frames <-chan jetstream.Msg, failed <-chan error, free <-chan *batch, out chan<- *batch) error {
	decoder := newDecoder()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var b *batch
	for {
		var in <-chan jetstream.Msg
		var ready chan<- *batch
		var refill <-chan *batch
		switch {
		case b == nil:
			refill = free
		case b.frames == 0:
			in = frames
		default:
			if !s.cfg.pace.full(b) {
				in = frames
			}
			if wait := s.cfg.pace.wait(b, time.Now()); wait > 0 {
				timer.Reset(wait)
			} else {
				ready = out
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case b = <-refill:
		case ready <- b:
			b = nil
		case <-timer.C:
		case msg, ok := <-in:
			if !ok {
				if err := <-failed; !errors.Is(err, jetstream.ErrMsgIteratorClosed) || ctx.Err() == nil {
					return fmt.Errorf("read %s: %w", s.names.StreamEnriched(s.id), err)
				}
				return ctx.Err()
			}
			meta, err := msg.Metadata()
			if err != nil {
				return fmt.Errorf("read %s: %w", s.names.StreamEnriched(s.id), err)
			}
			if meta.Sequence.Stream != next {
				return fmt.Errorf("%w: want frame %d, got %d", ErrGap, next, meta.Sequence.Stream)
			}
			if err := decoder.add(b, next, msg.Headers(), msg.Data()); err != nil {
				return err
			}
			next++
		}
	}
}
