package sources

import (
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Source is a source as the doors see it. It does not change; its methods may
// be called from any goroutine.
type Source struct {
	Name string

	record  Record // its zero for one that only flags name
	names   map[string]struct{}
	buckets *buckets // nil: no bounds
}

// newSource takes over the buckets of what the source was before, so that what
// it has used stays used.
func newSource(r Record, was *Source) *Source {
	s := &Source{Name: r.Name, record: r}
	if len(r.Allow.Names) > 0 {
		s.names = make(map[string]struct{}, len(r.Allow.Names))
		for _, n := range r.Allow.Names {
			s.names[n] = struct{}{}
		}
	}
	switch {
	case r.Rate.EventsPerSecond == 0 && r.Rate.BytesPerSecond == 0:
	case was != nil && was.buckets != nil && was.record.Rate == r.Rate:
		s.buckets = was.buckets
	default:
		s.buckets = newBuckets(r.Rate)
	}
	return s
}

// Disabled says whether nothing is taken from the source.
func (s *Source) Disabled() bool { return s.record.Disabled }

// AllowsOrigin says whether a page of that origin may send. "" is a request
// that no browser marked as of another site, which the list is not about: it
// keeps pages of strangers from using a key that everybody can read, and
// cannot keep out whoever writes his own headers.
func (s *Source) AllowsOrigin(origin string) bool {
	if origin == "" || len(s.record.Origins) == 0 {
		return true
	}
	origin = strings.ToLower(origin)
	for _, allowed := range s.record.Origins {
		if originMatches(allowed, origin) {
			return true
		}
	}
	return false
}

// AllowsEvent says whether the source may send events of a type (track, page
// ...) and name.
func (s *Source) AllowsEvent(kind, name []byte) bool {
	if s.record.Allow.IsZero() {
		return true
	}
	if _, ok := s.names[string(name)]; ok {
		return true
	}
	return slices.Contains(s.record.Allow.Types, string(kind))
}

// Take counts what a request brings against the source's rates. If they do not
// allow it, nothing is counted, and wait is after how many whole seconds, at
// least one, it may come again.
func (s *Source) Take(now time.Time, events, bytes int) (wait time.Duration, ok bool) {
	if s.buckets == nil {
		return 0, true
	}
	return s.buckets.take(now, events, bytes)
}

// Allows is Take that counts nothing, whatever the answer.
func (s *Source) Allows(now time.Time, events, bytes int) (wait time.Duration, ok bool) {
	if s.buckets == nil {
		return 0, true
	}
	return s.buckets.peek(now, events, bytes)
}

// Spent is Allows before a body was read: whether a request would be refused
// whatever it brings.
func (s *Source) Spent(now time.Time) (wait time.Duration, spent bool) {
	if s.buckets == nil {
		return 0, false
	}
	wait, ok := s.buckets.peek(now, 1, 1)
	return wait, !ok
}

// buckets are the rates of a source in this process.
type buckets struct {
	mu     sync.Mutex // what is looked at is what is taken
	events *rate.Limiter
	bytes  *rate.Limiter
}

func newBuckets(r Rate) *buckets {
	limiter := func(perSecond int64) *rate.Limiter {
		if perSecond == 0 {
			return rate.NewLimiter(rate.Inf, 1)
		}
		return rate.NewLimiter(rate.Limit(perSecond), int(r.burst(perSecond)))
	}
	return &buckets{events: limiter(r.EventsPerSecond), bytes: limiter(r.BytesPerSecond)}
}

func (b *buckets) take(now time.Time, events, bytes int) (time.Duration, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if wait, ok := b.look(now, events, bytes); !ok {
		return wait, false
	}
	draw(b.events, now, events)
	draw(b.bytes, now, bytes)
	return 0, true
}

func (b *buckets) peek(now time.Time, events, bytes int) (time.Duration, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.look(now, events, bytes)
}

// look says whether both have enough. The caller holds mu.
func (b *buckets) look(now time.Time, events, bytes int) (time.Duration, bool) {
	wait := max(lacks(b.events, now, events), lacks(b.bytes, now, bytes))
	if wait <= 0 {
		return 0, true
	}
	return (wait + time.Second - 1).Truncate(time.Second), false // up to whole seconds
}

// lacks is how long a bucket has to fill for n. More than it can hold needs a
// full one, and leaves a debt behind: else a large request could never pass.
func lacks(l *rate.Limiter, now time.Time, n int) time.Duration {
	if l.Limit() == rate.Inf {
		return 0
	}
	missing := float64(min(n, l.Burst())) - l.TokensAt(now)
	if missing <= 0 {
		return 0
	}
	return time.Duration(missing / float64(l.Limit()) * float64(time.Second))
}

func draw(l *rate.Limiter, now time.Time, n int) {
	if l.Limit() == rate.Inf {
		return
	}
	for n > 0 {
		part := min(n, l.Burst())
		l.ReserveN(now, part)
		n -= part
	}
}
