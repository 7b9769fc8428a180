package live

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
)

// ErrUnavailable says that NATS did not answer: ask again later.
var ErrUnavailable = errors.New("NATS cannot be reached now")

// history knows where in ENRICHED a time is.
type history struct {
	js    jetstream.JetStream
	names bus.Names
}

// request bounds one question to JetStream, which would wait for as long as NATS is away.
const request = 3 * time.Second

// ends are the sequences of the newest frames, by shard.
func (l *history) ends(ctx context.Context, shards int) ([]uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, request)
	defer cancel()
	ends := make([]uint64, shards)
	for shard := range ends {
		s, err := l.js.Stream(ctx, l.names.StreamEnriched(shard))
		if err != nil {
			return nil, fmt.Errorf("%w: look up %s: %w", ErrUnavailable, l.names.StreamEnriched(shard), err)
		}
		ends[shard] = s.CachedInfo().State.LastSeq
	}
	return ends, nil
}

// since is the sequence of the last frame of a shard that was written before t.
func (l *history) since(ctx context.Context, shard int, t time.Time) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, request)
	defer cancel()
	name := l.names.StreamEnriched(shard)
	s, err := l.js.Stream(ctx, name)
	if err != nil {
		return 0, fmt.Errorf("%w: look up %s: %w", ErrUnavailable, name, err)
	}
	// A consumer that begins at a time knows how many messages are left, and sequences have no holes.
	c, err := s.CreateConsumer(ctx, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &t, AckPolicy: jetstream.AckNonePolicy,
		HeadersOnly: true, MemoryStorage: true, InactiveThreshold: 10 * time.Second,
	})
	if err != nil {
		return 0, fmt.Errorf("%w: look for %s in %s: %w", ErrUnavailable, t.Format(time.RFC3339), name, err)
	}
	info := c.CachedInfo()
	_ = s.DeleteConsumer(ctx, info.Name) // JetStream would keep it for InactiveThreshold
	return s.CachedInfo().State.LastSeq - min(info.NumPending, s.CachedInfo().State.LastSeq), nil
}
