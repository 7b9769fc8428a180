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
	"github.com/millrace/millrace/libs/failpoint"
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

	rows    int64     // bytes of the rows that were published since it was asked, before packing
	at      time.Time // when it was asked
	drained float64   // bytes that left it in a second, before that
	packing float64   // how many bytes of rows one byte of it holds; 0: not known
}

// learn takes in what the stream says. before is what was published and rows
// what that was made of, since it was asked the last time. The caller holds mu.
func (f *fill) learn(stored, most, before, rows int64, now time.Time) {
	if took := now.Sub(f.at).Seconds(); !f.at.IsZero() && took > 0 {
		f.drained = max(0, float64(f.stored+before-stored)/took)
	}
	if before > 0 {
		f.packing = max(1, float64(rows)/float64(before))
	}
	f.stored, f.max, f.at = stored, most, now
	f.published -= before
	f.rows -= rows
}

// capacity is how many bytes of rows the shard can take in a second, if it is
// under pressure.
func (l *lane) capacity() (bytes int64, pressed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	share := l.share()
	if share < pressedFrom {
		return 0, false
	}
	room := max(0, fullFrom-share) * float64(l.fill.max)
	return int64((l.fill.drained + room/horizon.Seconds()) * max(1, l.fill.packing)), true
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
	before, rows := l.fill.published, l.fill.rows
	l.mu.Unlock()
	s, err := l.js.Stream(ctx, l.stream)
	if err != nil {
		return fmt.Errorf("look up stream %s: %w", l.stream, err)
	}
	info := s.CachedInfo()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fill.learn(int64(info.State.Bytes), info.Config.MaxBytes, before, rows, failpoint.Now())
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
	// The rate comes first and is counted last, so that a request that is refused
	// takes nothing of it, and one over its rate, which comes again, nothing of the
	// rest.
	bytes := 0
	if s := in.source; s != nil {
		bytes = in.size()
		if wait, ok := s.Allows(now, len(in.rows), bytes); !ok && d.minds(in) {
			return limited(wait)
		}
	}
	if n := len(in.rejected); n > 0 && !d.refusals.allow(in.from.source, n, now) {
		return errRefusals
	}
	if err := d.fair.admit(in.from.source, d.demands(in), now); err != nil {
		return err
	}
	if s := in.source; s != nil {
		if wait, ok := s.Take(now, len(in.rows), bytes); !ok && d.minds(in) {
			return limited(wait)
		}
	}
	return nil
}

// minds says whether in may be refused for the rate of its source. Too many
// waiting messages of one source would keep NATS from delivering those of others;
// they are stored already, so they may as well go on.
func (d *door) minds(in *intake) bool {
	return in.from.door != doorNATS || d.delayed.Load() < d.mostDelayed
}

// demands is what the rows of in would take of shards under pressure, nil when
// there is none.
func (d *door) demands(in *intake) (wanted []demand) {
	for shard, first := range in.heads {
		if first < 0 {
			continue
		}
		capacity, pressed := d.lanes[shard].capacity()
		if !pressed {
			continue
		}
		w := demand{shard: shard, capacity: capacity}
		for i := first; i >= 0; i = in.rows[i].next {
			w.bytes += int64(in.rowSize(i))
		}
		wanted = append(wanted, w)
	}
	return wanted
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

// spares says whether the NATS door should pull little for now: most of what it
// pulls of sources that have had their part comes again. Among it are messages of
// others, so it may not stop.
func (d *door) spares() bool {
	if d.delayed.Load() < d.mostDelayed {
		return false
	}
	for _, l := range d.lanes {
		if _, pressed := l.capacity(); pressed {
			return true
		}
	}
	return false
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
