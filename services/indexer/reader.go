package indexer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// What the client holds of frames that were sent and not yet taken: so many of
// each shard. One pull brings so many bytes for all shards of a sink; the next
// is asked for when half its frames are taken, so that two may be held.
const (
	pullFrames = 500
	pullBytes  = 32 << 20
)

// follow reads ENRICHED from a frame on and hands every frame to take, without
// a gap, until ctx is done or either fails.
func (s *shard) follow(ctx context.Context, from uint64, take func(a *arrival) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	name := s.sink.names.StreamEnriched(s.id)
	consumer, err := s.sink.js.OrderedConsumer(ctx, name, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from,
	})
	if err != nil {
		return fmt.Errorf("read %s from %d: %w", name, from, err)
	}
	// Never less than the largest message, or the consumer would stand still.
	most := max(pullBytes/len(s.sink.shards), int(s.sink.js.Conn().MaxPayload())+64<<10)
	msgs, err := consumer.Messages(jetstream.PullMaxMessagesWithBytesLimit(pullFrames, most))
	if err != nil {
		return fmt.Errorf("read %s from %d: %w", name, from, err)
	}
	defer msgs.Stop()
	defer context.AfterFunc(ctx, msgs.Stop)()
	for next := from; ; next++ {
		msg, err := msgs.Next()
		if err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("read %s: %w", name, err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		if meta.Sequence.Stream != next {
			return fmt.Errorf("%w: want frame %d, got %d", ErrGap, next, meta.Sequence.Stream)
		}
		a, err := inspect(next, msg.Headers(), msg.Data())
		if err != nil {
			return err
		}
		a.lane = s.lane
		if err := take(&a); err != nil {
			return err
		}
	}
}

// read hands the shard's frames to the sink's collector.
func (s *shard) read(ctx context.Context, life int, next uint64) error {
	return s.follow(ctx, next, func(a *arrival) error {
		a.life = life
		select {
		case s.sink.arrivals <- *a:
			s.passed(life, a.seq)
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
}

// errReread ends a reading that has got what it wanted.
var errReread = errors.New("indexer: all frames have been read again")

// reread adds the frames first..last to a batch once more.
func (s *shard) reread(ctx context.Context, b *batch, first, last uint64) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(rereadPatience, func() { cancel(fmt.Errorf("no frame came for %s", rereadPatience)) })
	defer silence.Stop()
	err := s.follow(ctx, first, func(a *arrival) error {
		silence.Reset(rereadPatience)
		if err := b.add(a); err != nil {
			return err
		}
		if a.seq == last {
			return errReread
		}
		return nil
	})
	if errors.Is(err, errReread) {
		return nil
	}
	return err
}

// rereadPatience is how long a frame that ENRICHED holds may take to come.
const rereadPatience = 10 * time.Second
