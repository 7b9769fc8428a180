package indexer

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/libs/svc"
)

// shard is one shard of a sink: a reader and a trimmer. What is wrong with its
// own logs or frames shuts it alone; it is looked at again with growing delay
// while the others go on.
type shard struct {
	sink *sink
	id   int
	lane int // its place in sink.shards
	log  *slog.Logger

	mu      sync.Mutex // guards the four below
	life    int        // grows when frames are read again that were handed on
	next    uint64     // the frame to go on from
	suspect uint64     // the frame because of which they are, 0 for none
	stop    context.CancelCauseFunc

	trimmable atomic.Pointer[trimPoint] // what the committer has proven last
	recorded  atomic.Uint64             // what the ledger says is proven, in a record of ours
	found     uint64                    // what was proven at takeover
	deadTold  uint64                    // the trimmer's: what the bucket said of dead letters
	deadAsked time.Time                 // and when
}

// position is where to go on reading, and as which life.
func (s *shard) position() (life int, next, suspect uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.life, s.next, s.suspect
}

// lives says whether frames of a life still count.
func (s *shard) lives(life int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.life == life
}

// passed notes that a frame was handed on.
func (s *shard) passed(life int, seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life == life {
		s.next = seq + 1
	}
}

// rewind shuts the shard because of a frame that was handed on. All that was
// handed on from the frame `to` on no longer counts, wherever it is now.
func (s *shard) rewind(to, suspect uint64, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.life++
	s.next, s.suspect = to, suspect
	if s.stop != nil {
		s.stop(why)
	}
}

// begin notes how to end the reading of a life; false says that the shard was
// rewound since, by a batch that was still on its way.
func (s *shard) begin(life int, stop context.CancelCauseFunc) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life != life {
		return false
	}
	s.stop, s.suspect = stop, 0
	return true
}

// run reads until ctx is done. trouble is why the shard cannot open at first,
// nil for one that was checked.
func (s *shard) run(ctx context.Context, trouble error) error {
	delays := growing{next: firstDelay}
	var lines svc.Repeated
	checked := trouble == nil
	for {
		_, before, _ := s.position()
		if trouble == nil {
			trouble = s.open(ctx, checked)
			checked = false
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if _, after, _ := s.position(); after > before {
			delays.next = firstDelay
			lines.Over()
		}
		s.sink.note(s.id, trouble)
		s.sink.metrics.retries.WithLabelValues("shard").Inc()
		if times, due := lines.Again(); due {
			s.log.Error("shard is shut and tried again later", "err", trouble, "delay", delays.next.String(), "times", times)
		}
		if err := delays.wait(ctx); err != nil {
			return err
		}
		trouble = nil
	}
}

// open reads and trims until something is wrong, which it returns.
func (s *shard) open(ctx context.Context, checked bool) error {
	life, next, suspect := s.position()
	if !checked {
		if err := s.mayOpen(ctx, next, next-1); err != nil {
			return err
		}
		if err := s.sound(ctx, suspect); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if !s.begin(life, cancel) {
		return errors.New("frames that were handed on must be read again")
	}
	s.sink.note(s.id, nil)
	s.log.Info("shard is open", "next_frame", next)
	g, working := errgroup.WithContext(ctx)
	g.Go(func() error { return s.read(working, life, next) })
	g.Go(func() error { return s.trim(working) })
	g.Go(func() error { return s.look(working) })
	err := g.Wait()
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// sound says whether a frame that could not be joined can be by now.
func (s *shard) sound(ctx context.Context, seq uint64) error {
	if seq == 0 {
		return nil
	}
	stream, err := s.sink.js.Stream(ctx, s.sink.names.StreamEnriched(s.id))
	var msg *jetstream.RawStreamMsg
	if err == nil {
		msg, err = stream.GetMsg(ctx, seq)
	}
	if err != nil {
		return err
	}
	a, err := inspect(seq, msg.Header, msg.Data)
	if err != nil {
		return err
	}
	b := newBatch([]int{s.id})
	if err := b.add(&a); err != nil {
		return err
	}
	_, err = newJoiner().join(b)
	return err
}

// The delays of growing: short enough at first to be invisible in a restart of
// ClickHouse, and never so long that its return goes unnoticed.
const (
	firstDelay = 50 * time.Millisecond
	lastDelay  = 5 * time.Second
)

// growing waits 50 ms at first and up to 5 s later, up to half of it less by
// chance, because all sinks of all processes wait for the same ClickHouse. Its
// end is the context, because an event is never given up for an error of the
// way.
type growing struct{ next time.Duration }

func (g *growing) wait(ctx context.Context) error {
	timer := time.NewTimer(g.next - rand.N(g.next/2)) //nolint:gosec // no secret
	defer timer.Stop()
	g.next = min(2*g.next, lastDelay)
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
