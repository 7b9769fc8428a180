package tail

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
)

// Subscription reads every frame of every shard from a place on, at its reader's own pace: nothing waits for it, and nothing
// is kept for it. What has left the memory comes from the stream; what has left that too is a [GapError]. It serves one
// goroutine.
type Subscription struct {
	t    *Tail
	next []uint64 // by shard
	turn int      // the shard that is looked at first, so that none starves
}

// Subscribe begins after the places of a receipt; shards that it does not name begin with the next frame that comes. The
// tail must be ready.
func (t *Tail) Subscribe(from bus.Receipt) *Subscription {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &Subscription{t: t, next: make([]uint64, len(t.shards))}
	for i, sh := range t.shards {
		s.next[i] = sh.last + 1
	}
	for _, p := range from.Places {
		if p.Shard < len(s.next) {
			s.next[p.Shard] = p.Seq + 1
		}
	}
	return s
}

// Position is a receipt from which another subscription would go on, all shards named. A shard of which no frame is known
// is left out.
func (s *Subscription) Position() (r bus.Receipt) {
	for i, next := range s.next {
		if next > 1 {
			r.Add(bus.Place{Shard: i, Seq: next - 1})
		}
	}
	return r
}

// Behind is how many frames are waiting for the reader.
func (s *Subscription) Behind() (n uint64) {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	for i, sh := range s.t.shards {
		if sh.last >= s.next[i] {
			n += sh.last - s.next[i] + 1
		}
	}
	return n
}

// Next waits for a frame. After a [GapError] the next call goes on behind the gap. Other errors are ctx's, or one of NATS,
// after which it may be called again.
func (s *Subscription) Next(ctx context.Context) (*Frame, error) {
	for {
		f, old, arrived := s.look()
		switch {
		case f != nil:
			return f, nil
		case old >= 0:
			return s.fetch(ctx, old)
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// look finds the next frame in memory, or the shard of one that is not there any more.
func (s *Subscription) look() (f *Frame, old int, arrived <-chan struct{}) {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	for n := range s.next {
		i := (s.turn + n) % len(s.next)
		sh := s.t.shards[i]
		switch next := s.next[i]; {
		case next > sh.last:
		case next < sh.first:
			return nil, i, nil
		default:
			s.next[i]++
			s.turn = i + 1
			return sh.frames[next-sh.first], -1, nil
		}
	}
	return nil, -1, s.t.arrived
}

// fetch reads one frame from the stream.
func (s *Subscription) fetch(ctx context.Context, i int) (*Frame, error) {
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	names := s.t.cfg.Names
	stream, err := s.t.cfg.JS.Stream(ctx, names.StreamEnriched(i))
	if err != nil {
		return nil, fmt.Errorf("look up stream %s: %w", names.StreamEnriched(i), err)
	}
	seq := s.next[i]
	msg, err := stream.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		first := max(stream.CachedInfo().State.FirstSeq, seq+1)
		s.next[i] = first
		return nil, &GapError{Shard: i, From: seq, To: first - 1}
	}
	if err != nil {
		return nil, fmt.Errorf("read frame %d of %s: %w", seq, names.StreamEnriched(i), err)
	}
	f, err := newFrame(bus.Place{Shard: i, Seq: seq}, msg.Header, msg.Data, msg.Time)
	if err != nil {
		return nil, err
	}
	s.next[i], s.turn = seq+1, i+1
	return f, nil
}

// Age is how long ago JetStream stored the frame.
func (f *Frame) Age() time.Duration { return time.Since(f.Stored) }
