package tail

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Shards is how many there are; the tail must be ready.
func (t *Tail) Shards() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.shards)
}

// Reached is how far a shard is known: the last frame that came, or the watermark if that is further.
func (t *Tail) Reached(shard int) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return max(t.shards[shard].last, t.mark(shard))
}

// Stored is the last frame of a shard in RAW: whoever was told before the call that an event is stored finds it at or before
// this frame. [Tail.Await] waits until the enricher has answered it. A RAW that ends before what came of it already is
// another one: [ErrWentBack].
func (t *Tail) Stored(ctx context.Context, shard int) (uint64, error) {
	reached := t.Reached(shard)
	name := t.cfg.Names.StreamRaw(shard)
	s, err := t.cfg.JS.Stream(ctx, name)
	if err != nil {
		return 0, fmt.Errorf("look up stream %s: %w", name, err)
	}
	last := s.CachedInfo().State.LastSeq
	if last < reached {
		return 0, fmt.Errorf("%w: %s ends at %d, frames up to %d were read", ErrWentBack, name, last, reached)
	}
	return last, nil
}

// In is how far the NATS door is: the last message that a publisher was told is there, and the one up to which ingesters
// have brought all into RAW.
func (t *Tail) In(ctx context.Context) (last, taken uint64, err error) {
	name := t.cfg.Names.StreamIn()
	s, err := t.cfg.JS.Stream(ctx, name)
	if err != nil {
		return 0, 0, fmt.Errorf("look up stream %s: %w", name, err)
	}
	state := s.CachedInfo().State
	// Ingesters purge what they have brought, so an empty stream tells without its consumer. Of one, FirstSeq is LastSeq+1,
	// or 0 if it never held a message.
	last, taken = state.LastSeq, max(state.FirstSeq, 1)-1
	if taken >= last {
		return last, last, nil
	}
	consumer, err := s.Consumer(ctx, t.cfg.Names.DurableIngester())
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		return last, taken, nil
	case err != nil:
		return 0, 0, fmt.Errorf("look up the ingesters' consumer of %s: %w", name, err)
	}
	return last, max(taken, consumer.CachedInfo().AckFloor.Stream), nil
}
