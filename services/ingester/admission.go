package ingester

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/millrace/millrace/libs/bus"
)

// fullFrom is the share of a stream's bytes from which its shard takes no new
// request: what is left is for what was admitted before, so that no request
// finds one of its shards full after another has stored its part.
const fullFrom = 0.85

// fillEvery is how often the streams are asked for their size.
const fillEvery = time.Second

// measureAtOnce streams are asked at the same time.
const measureAtOnce = 8

// fill is how full the stream of a shard is: what it said last, and what has
// been published since it was asked.
type fill struct {
	stored    int64
	published int64
	max       int64 // 0 until known, and for a stream without a limit
}

// share is the used part, with queued bytes still to come. The caller holds mu.
func (l *lane) share() float64 {
	if l.fill.max <= 0 {
		return 0
	}
	return float64(l.fill.stored+l.fill.published+l.queued) / float64(l.fill.max)
}

// admits says whether the shard takes a new request.
func (l *lane) admits() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed != nil:
		return l.closed
	case l.share() >= fullFrom:
		return errShardFull
	}
	return nil
}

// measure asks the stream for its size.
func (l *lane) measure(ctx context.Context) error {
	l.mu.Lock()
	before := l.fill.published
	l.mu.Unlock()
	s, err := l.js.Stream(ctx, l.stream)
	if err != nil {
		return fmt.Errorf("look up stream %s: %w", l.stream, err)
	}
	info := s.CachedInfo()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fill.stored = int64(info.State.Bytes)
	l.fill.published -= before
	l.fill.max = info.Config.MaxBytes
	l.m.fill(l.shard, l.share())
	l.judge()
	return nil
}

// watch measures all lanes until ctx is done.
func (d *door) watch(ctx context.Context) {
	tick := time.NewTicker(fillEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		d.measure(ctx)
	}
}

// measure asks all streams, in one second altogether: of a NATS that hangs every
// shard is to know it then.
func (d *door) measure(ctx context.Context) {
	ask, cancel := context.WithTimeout(ctx, fillEvery)
	defer cancel()
	var all errgroup.Group
	all.SetLimit(measureAtOnce)
	for _, l := range d.lanes {
		all.Go(func() error {
			// While NATS is away the last figure stands; the lanes report it.
			if err := l.measure(ask); err != nil && ctx.Err() == nil {
				d.m.retries[stepMeasure].Inc()
				d.m.lanes.Wait(l.shard, bus.StuckNATS, "its stream gives no answer: "+err.Error())
				d.log.Debug("size of a stream is not known", "stream", l.stream, "err", err)
			}
			return nil
		})
	}
	_ = all.Wait() // none has an error
}

// admit says whether the rows of in may be stored, before the first of them
// is: all or nothing of a request.
func (d *door) admit(in *intake, now time.Time) error {
	if d.cfg.Admit != nil {
		if err := d.cfg.Admit(); err != nil {
			return fmt.Errorf("%w: %w", errNotAdmitted, err)
		}
	}
	for shard, first := range in.heads {
		if first >= 0 {
			if err := d.lanes[shard].admits(); err != nil {
				return err
			}
		}
	}
	if n := len(in.rejected); n > 0 && !d.refusals.allow(in.from.source, n, now) {
		return errRefusals
	}
	return nil
}

// crowded is why the NATS door should not pull for now.
func (d *door) crowded() error {
	if d.cfg.Admit != nil {
		if err := d.cfg.Admit(); err != nil {
			return fmt.Errorf("%w: %w", errNotAdmitted, err)
		}
	}
	for _, l := range d.lanes {
		// A closed shard does not stop the others.
		if err := l.admits(); errors.Is(err, errShardFull) {
			return err
		}
	}
	if d.budget.used.Load() > min(d.budget.max/2, crowdedBytes) {
		return errBusy
	}
	return nil
}

// budget bounds the bytes that requests and frames hold in memory.
type budget struct {
	max  int64
	used atomic.Int64
}

// take reserves n bytes, if there are so many.
func (b *budget) take(n int64) bool {
	if b.used.Add(n) <= b.max {
		return true
	}
	b.used.Add(-n)
	return false
}

// add counts bytes that are there already.
func (b *budget) add(n int64) { b.used.Add(n) }

func (b *budget) free(n int64) { b.used.Add(-n) }

// Refusals that a source may send: far above any accident, far below what
// would fill DEAD or drown its readers.
const (
	refusalsPerSecond = 2_000
	refusalsBurst     = 50_000
)

// maxLimiters bounds the sources that are followed; the NATS door lets
// clients name any.
const maxLimiters = 4_096

// refusals limits the refused events of each source.
type refusals struct {
	mu        sync.Mutex // guards bySource
	bySource  map[string]*rate.Limiter
	perSecond rate.Limit
	burst     int
}

func newRefusals() *refusals {
	return &refusals{bySource: map[string]*rate.Limiter{}, perSecond: refusalsPerSecond, burst: refusalsBurst}
}

func (r *refusals) allow(source string, n int, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.bySource[source]
	if l == nil {
		if len(r.bySource) >= maxLimiters {
			r.forget(now)
		}
		l = rate.NewLimiter(r.perSecond, r.burst)
		r.bySource[source] = l
	}
	return l.AllowN(now, n)
}

// forget drops the limiters that are full again, and all if none is: then
// they limit nothing anyway but memory.
func (r *refusals) forget(now time.Time) {
	for source, l := range r.bySource {
		if l.TokensAt(now) >= float64(r.burst) {
			delete(r.bySource, source)
		}
	}
	if len(r.bySource) >= maxLimiters {
		clear(r.bySource)
	}
}
