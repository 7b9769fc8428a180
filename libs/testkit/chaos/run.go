package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// lab is one run.
type lab struct {
	settings
	*mill
	rate      float64 // events a second of each producer
	out       io.Writer
	began     time.Time
	producers []*producer
	once      *impatient
	closers   []func()
	gate      *gate
	repeating atomic.Bool  // producers send again what was acknowledged
	padding   atomic.Int64 // bytes that every event has more, and that do not compress

	mu     sync.Mutex // guards the rest
	now    string     // what is broken
	counts map[string]*tally
	// forgiven audits brought back what a fault had taken away.
	forgiven int
}

// tally is what is known of one fault.
type tally struct {
	Fault    string        `json:"fault"`
	Injected int           `json:"injected"`
	Missed   int           `json:"missed"` // it came, and there was nothing to hit
	Events   int           `json:"events"` // acknowledged, of those that were made meanwhile
	Rows     int           `json:"rows"`
	Dead     int           `json:"dead"`
	Lost     int           `json:"lost"`
	Doubled  int           `json:"doubled"`
	Slowest  time.Duration `json:"slowest_recovery_ns"`
}

// calm is what the events are marked with that were made while nothing was
// broken.
const calm = "(nothing)"

// recoveryLimit is how long it may take after a fault until events go all the
// way again.
const recoveryLimit = 90 * time.Second

func (l *lab) phase() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

func (l *lab) enter(name string) *tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = name
	return l.tally(name)
}

// tally is what is noted of a fault; mu is held, or nobody else is at work.
func (l *lab) tally(name string) *tally {
	t := l.counts[name]
	if t == nil {
		t = &tally{Fault: name}
		l.counts[name] = t
	}
	return t
}

func (l *lab) say(format string, args ...any) {
	fmt.Fprintf(l.out, "%7.1fs  %s\n", time.Since(l.began).Seconds(), fmt.Sprintf(format, args...))
}

// work runs the producers and the faults, and ends with all that was sent
// acknowledged.
func (l *lab) work(ctx context.Context, chosen []fault) error {
	l.enter(calm)
	producing, stop := context.WithCancel(ctx)
	defer stop()
	var g errgroup.Group
	for i, p := range l.producers {
		rng := rand.New(rand.NewPCG(l.Seed, uint64(i)+1))
		g.Go(func() error {
			err := p.run(producing, rng)
			if err != nil {
				stop()
			}
			return err
		})
	}
	g.Go(func() error { l.once.run(producing); return nil })
	err := l.breakThings(producing, chosen)
	stop()
	return errors.Join(err, g.Wait())
}

func (l *lab) breakThings(ctx context.Context, chosen []fault) error {
	for _, f := range chosen {
		l.tally(f.name) // those that the time does not suffice for are named too
	}
	if err := l.flowing(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("before any fault: %w", err)
	}
	if len(chosen) == 0 {
		<-ctx.Done()
		return nil
	}
	rng := rand.New(rand.NewPCG(l.Seed, 0))
	d := deck{faults: chosen, rng: rng}
	end := l.began.Add(l.Duration)
	for n := 1; time.Now().Before(end) && ctx.Err() == nil; n++ {
		if l.Times > 0 && n > l.Times*len(chosen) {
			return nil
		}
		at := time.Now()
		f := d.deal()
		if err := l.inject(ctx, f, rng, n); err != nil {
			return err
		}
		rest := between(rng, 100*time.Millisecond, 500*time.Millisecond)
		if l.Every > 0 {
			rest = l.Every - time.Since(at)
		}
		pause(ctx, rest)
	}
	return nil
}

// inject breaks one thing, heals it, and waits until events go all the way
// again.
func (l *lab) inject(ctx context.Context, f fault, rng *rand.Rand, n int) error {
	t := l.enter(f.name)
	began, audits := time.Now(), l.audits()
	err := f.do(ctx, l, rng)
	healed := time.Now()
	l.healWires()
	l.enter(calm)
	if ctx.Err() != nil {
		return nil // the end of the run, or of a producer, which says why
	}
	missed := errors.Is(err, errMissed)
	if err != nil && !missed {
		return fmt.Errorf("fault %d, %s: %w", n, f.name, err)
	}
	if err := l.flowing(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("after fault %d, %s: %w%s", n, f.name, err, l.ended())
	}
	if gone := l.ended(); gone != "" {
		return fmt.Errorf("after fault %d, %s: %s", n, f.name, gone)
	}
	recovered := time.Since(healed)
	if f.loses {
		l.forgiven += l.audits() - audits
	}
	l.mu.Lock()
	if missed {
		t.Missed++
	} else {
		t.Injected++
	}
	t.Slowest = max(t.Slowest, recovered)
	l.mu.Unlock()
	if missed {
		l.say("%3d  %-34s has hit nothing: %v", n, f.name, err)
		return nil
	}
	l.say("%3d  %-34s broken %5.1fs, flowing again after %4.1fs", n, f.name, healed.Sub(began).Seconds(), recovered.Seconds())
	return nil
}

// ended names the processes that should run and do not, with their last words.
func (l *lab) ended() string {
	var text strings.Builder
	for _, p := range append(l.all(), l.nats) {
		select {
		case <-p.ended():
			fmt.Fprintf(&text, "\n%s has ended: ...%s", p.name, p.tail(500))
		default:
		}
	}
	return text.String()
}

var errStuck = errors.New("events do not go all the way within " + recoveryLimit.String())

// flowing waits until every producer has a request acknowledged that was begun
// after now, and its rows are there. Its users are spread over all shards.
func (l *lab) flowing(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, recoveryLimit)
	defer cancel()
	want := make([]int64, len(l.producers))
	for i, p := range l.producers {
		want[i] = p.accepted.Load() + 2*perRequest // one may be under way
	}
	var why error
	for i, p := range l.producers {
		for p.accepted.Load() < want[i] {
			if !pause(ctx, 20*time.Millisecond) {
				return fmt.Errorf("%w: producer %s, last: %w", errStuck, p.name, p.trouble())
			}
		}
		var ids []string
		for n := int(want[i]) - perRequest; n < int(want[i]); n++ {
			if !lettered(n, p.during(n)) {
				ids = append(ids, fmt.Sprintf("%s-%d", p.name, n))
			}
		}
		for {
			rows, err := l.db.number(ctx, "SELECT uniqExact(event_id) FROM events WHERE received_at > now() - 1000 AND event_id IN (?)", ids)
			if int(rows) == len(ids) {
				break
			}
			if err != nil {
				why = err
			}
			if !pause(ctx, 50*time.Millisecond) {
				return errors.Join(fmt.Errorf("%w: of events %s to %s there are %d rows", errStuck, ids[0], ids[len(ids)-1], rows), why)
			}
		}
	}
	return nil
}
