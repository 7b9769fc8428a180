package tail

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
)

// Config of a tail. All but Budget is required.
type Config struct {
	JS    jetstream.JetStream
	Names bus.Names
	// Proven is the watermark of a shard: all rows of the frames up to it are in ClickHouse. It never falls.
	Proven func(shard int) uint64
	// Budget is what the frames may take, in bytes; 0 is 256 MiB. Beyond it the oldest are let go, proven ones first.
	Budget int64
	Log    *slog.Logger
	Reg    prometheus.Registerer
}

const (
	defaultBudget = 256 << 20
	// Frames are kept unpacked in a quarter of the budget, and below the watermark in an eighth of it.
	openShare = 4
	keepShare = 8
)

// Tail follows ENRICHED. Its methods may be called from any goroutine.
type Tail struct {
	cfg  Config
	m    *metrics
	seed maphash.Seed
	hook Hook // nil for none

	ready chan struct{} // closed once the shards are known

	mu      sync.Mutex // guards all below
	shards  []*shard   // nil until ready
	index   map[uint64][]ref
	pins    map[*Pin]struct{}
	used    int64         // bytes of all frames without their views
	below   int64         // of these, bytes of frames that are out of the index
	opened  int64         // bytes of views
	open    []*Frame      // that have one, oldest first
	arrived chan struct{} // closed, and replaced, when a frame has come
}

// Hook is told of every frame, in the order of its shard and before anybody who waits for it is woken. Its methods run
// under the tail's lock: they must be quick and call nothing of the tail.
type Hook interface {
	// Frame comes after the frame before it.
	Frame(f *Frame, rows *frame.View)
	// Gap says that frames of a shard will never come.
	Gap(shard int)
}

// shard is one shard's frames: a run without holes that ends at last.
type shard struct {
	frames  []*Frame // frames[i] is first+i
	first   uint64
	last    uint64 // of what came; first-1 at the beginning
	indexed uint64 // frames up to here are out of the index
	lost    uint64 // frames above the watermark up to here were let go, or never came
	base    uint64 // the watermark at the beginning
	why     error  // it is not being followed
	changed chan struct{}
}

// New returns a tail that follows nothing yet.
func New(cfg Config) *Tail {
	if cfg.Budget == 0 {
		cfg.Budget = defaultBudget
	}
	t := &Tail{
		cfg: cfg, seed: maphash.MakeSeed(), ready: make(chan struct{}), index: map[uint64][]ref{}, pins: map[*Pin]struct{}{},
		arrived: make(chan struct{}),
	}
	t.m = newMetrics(cfg.Reg, t)
	return t
}

// SetHook must be called before Run.
func (t *Tail) SetHook(h Hook) { t.hook = h }

// Run follows all shards until ctx is done, whose error it returns. NATS may come later and go away.
func (t *Tail) Run(ctx context.Context) error {
	if err := t.begin(ctx); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for i := range t.shards {
		g.Go(func() error { return t.follow(ctx, i) }) // ended by ctx
	}
	return g.Wait()
}

// Ready is closed once the tail knows where it begins.
func (t *Tail) Ready() <-chan struct{} { return t.ready }

// lookAgain is how often who waits for a frame looks at the watermark.
const lookAgain = 50 * time.Millisecond

// Err is why some shard is not being followed, nil when all are.
func (t *Tail) Err() error {
	select {
	case <-t.ready:
	default:
		return fmt.Errorf("%w: it has not begun", ErrStopped)
	}
	// The connection knows sooner than a consumer that waits for heartbeats.
	if t.cfg.JS.Conn().Status() != nats.CONNECTED {
		return fmt.Errorf("%w: NATS is away", ErrStopped)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, s := range t.shards {
		if s.why != nil {
			return fmt.Errorf("%w: shard %d: %w", ErrStopped, i, s.why)
		}
	}
	return nil
}

// Await returns when a frame is in the tail, or proven to be in ClickHouse. The error is ctx's; it says what is in the way
// if the shard is not being followed.
func (t *Tail) Await(ctx context.Context, p bus.Place) error {
	select {
	case <-t.ready:
	case <-ctx.Done():
		return fmt.Errorf("%w: it has not begun: %w", ErrStopped, ctx.Err())
	}
	for {
		t.mu.Lock()
		if p.Shard < 0 || p.Shard >= len(t.shards) {
			t.mu.Unlock()
			return fmt.Errorf("there is no shard %d", p.Shard)
		}
		s := t.shards[p.Shard]
		have, changed, why := max(s.last, t.mark(p.Shard)), s.changed, s.why
		t.mu.Unlock()
		if have >= p.Seq {
			return nil
		}
		select {
		case <-changed:
		case <-time.After(lookAgain): // the watermark may be ahead
		case <-ctx.Done():
			if why != nil {
				return fmt.Errorf("%w: %w", ctx.Err(), why)
			}
			return fmt.Errorf("frame %d:%d is not in ENRICHED yet: %w", p.Shard, p.Seq, ctx.Err())
		}
	}
}

// Position is the last frame of each shard that came.
func (t *Tail) Position() []uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := make([]uint64, len(t.shards))
	for i, s := range t.shards {
		at[i] = s.last
	}
	return at
}

// Unproven is how many bytes the frames take that are on their way to ClickHouse, or that a pin holds.
func (t *Tail) Unproven() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.shards {
		t.unindex(i) // the watermark may have moved since the last frame came
	}
	return t.used - t.below
}

// mark is the watermark of a shard. The caller holds mu.
func (t *Tail) mark(shard int) uint64 { return max(t.shards[shard].base, t.cfg.Proven(shard)) }

// take appends a frame. It comes from one goroutine a shard.
func (t *Tail) take(f *Frame) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.shards[f.Place.Shard]
	if f.Place.Seq != s.last+1 {
		t.skip(f.Place.Shard, f.Place.Seq-1)
	}
	s.frames = append(s.frames, f)
	s.last = f.Place.Seq
	t.used += f.cost
	if f.opened > 0 {
		t.opened += f.opened
		t.open = append(t.open, f)
	}
	t.enter(f)
	if t.hook != nil {
		t.hook.Frame(f, f.view.Load())
	}
	t.trim(f.Place.Shard)
	t.m.frames.Inc()
	t.m.rows.Add(float64(f.rows))
	close(s.changed)
	s.changed = make(chan struct{})
	close(t.arrived)
	t.arrived = make(chan struct{})
}

// skip notes that the frames up to seq will never come: they were purged, which is done to proven ones only, or are a hole.
// What is in memory goes with them, so that the run has no hole. The caller holds mu.
func (t *Tail) skip(i int, seq uint64) {
	s := t.shards[i]
	for len(s.frames) > 0 {
		t.release(s, t.mark(i))
	}
	if seq > t.mark(i) || t.pinned(i, seq) {
		s.lost = max(s.lost, seq)
	}
	s.first, s.last = seq+1, seq
	s.indexed = max(s.indexed, seq)
	if t.hook != nil {
		t.hook.Gap(i)
	}
}

// stopped notes why a shard is not being followed; nil that it is.
func (t *Tail) stopped(i int, why error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if errors.Is(why, context.Canceled) {
		return
	}
	t.shards[i].why = why
}
