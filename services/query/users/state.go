package users

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/millrace/millrace/services/query/tail"
)

const (
	day  = 24 * time.Hour
	week = 7 * day
	// life is for how long a state is added to before it is read anew: its windows know what leaves them that long.
	life = time.Hour
	// silence ends a session.
	silence = 30 * time.Minute
	// maxSteps bounds the events of the last day that are kept: more of them are counted, but a session is then only known
	// from the oldest that is kept.
	maxSteps = 5000
	slack    = maxSteps / 4
	// maxRecent bounds how many events an answer shows.
	maxRecent = 50
)

// state is the fold over a user's events up to a place of each shard. It is guarded by the mutex of Users once it is kept.
type state struct {
	user   User
	ids    tail.Who
	at     []uint64 // by shard: frames up to here are in it from the beginning
	loaded int64    // ms, when that was
	now    int64    // ms, never falls

	total       uint64
	first, last int64 // ms
	day, week   window
	traits      map[string]*trait
	steps       []step  // by place: those from since on
	since       int64   // ms
	recent      []shown // the newest ones: of those from shownFrom on, at most shows
	shownFrom   int64   // ms
	shows       int     // how many of the newest were asked for
	requests    []shown // the last few, by arrival
	lacks       []Lack

	used    int64     // bytes, about
	touched time.Time // when it was last of use
}

// trait is a trait's values, by place: all since the state's since, and the one before.
type trait struct{ versions []version }

type version struct {
	place
	value  string
	number bool
}

func newState(u User, now int64) *state {
	return &state{
		user: u, loaded: now, now: now, since: now - day.Milliseconds(), shows: defaultRecent, shownFrom: math.MinInt64,
		day: newWindow(day.Milliseconds(), now), week: newWindow(week.Milliseconds(), now), traits: map[string]*trait{},
	}
}

// seen counts events that were between two times.
func (s *state) seen(n uint64, first, last int64) {
	if n == 0 {
		return
	}
	if s.total == 0 {
		s.first, s.last = first, last
	}
	s.total += n
	s.first, s.last = min(s.first, first), max(s.last, last)
}

// add takes one event in that was not in ClickHouse.
func (s *state) add(e *entry, now int64) {
	s.now = max(s.now, now)
	s.seen(1, e.ms, e.ms)
	s.used += s.day.add(e.ms, e.name, s.now) + s.week.add(e.ms, e.name, s.now)
	for _, f := range e.traits {
		s.set(e.place, f)
	}
	s.step(e.step)
	s.show(e.shown())
	if e.request {
		x := e.shown()
		s.requests = append(s.requests, x)
		s.used += x.size()
		if len(s.requests) > 8 {
			s.used -= s.requests[0].size()
			s.requests = slices.Delete(s.requests, 0, 1)
		}
	}
}

// step keeps an event of the last day.
func (s *state) step(x step) {
	if x.ms < s.since {
		return
	}
	i, _ := slices.BinarySearchFunc(s.steps, x, func(a, b step) int { return a.compare(b.place) })
	s.steps = slices.Insert(s.steps, i, x)
	s.used += x.size()
	if len(s.steps) > maxSteps+slack { // many at once, since those that stay are moved
		s.forget(s.steps[len(s.steps)-maxSteps].ms)
	}
}

// forget lets go of the steps before a time: some of them are not known.
func (s *state) forget(before int64) {
	s.since = max(s.since, before)
	n, _ := slices.BinarySearchFunc(s.steps, s.since, func(x step, ms int64) int { return cmp.Compare(x.ms, ms) })
	n = max(n, len(s.steps)-maxSteps) // many may be of one millisecond
	for i := range s.steps[:n] {
		s.used -= s.steps[i].size()
	}
	s.steps = slices.Delete(s.steps, 0, n)
}

func (x *step) size() int64 { return int64(96 + len(x.name) + len(x.path) + len(x.session)) }

// show keeps an event if it is one of the newest.
func (s *state) show(x shown) {
	if x.ms < s.shownFrom {
		return
	}
	i, known := slices.BinarySearchFunc(s.recent, x, func(a, b shown) int { return a.compare(b.place) })
	if known || i == 0 && len(s.recent) >= s.shows {
		return
	}
	s.recent = slices.Insert(s.recent, i, x)
	s.used += x.size()
	if len(s.recent) > s.shows {
		s.used -= s.recent[0].size()
		s.recent = slices.Delete(s.recent, 0, 1)
	}
}

// showFrom says that of the events before a time not all were read.
func (s *state) showFrom(ms int64) {
	s.shownFrom = max(s.shownFrom, ms)
	for len(s.recent) > 0 && s.recent[0].ms < s.shownFrom {
		s.used -= s.recent[0].size()
		s.recent = slices.Delete(s.recent, 0, 1)
	}
}

// showsEnough says whether the newest n events are there, or all that there are.
func (s *state) showsEnough(n int) bool {
	return len(s.recent) >= n || uint64(len(s.recent)) == s.total
}

func (x *shown) size() int64 {
	n := 128 + len(x.id)
	for _, f := range x.properties {
		n += 48 + len(f.key) + len(f.value)
	}
	return int64(n)
}

// set takes a value of a trait in.
func (s *state) set(p place, f field) {
	t := s.traits[f.key]
	if t == nil {
		t = &trait{}
		s.traits[f.key] = t
		s.used += int64(128 + len(f.key))
	}
	v := version{place: p, value: f.value, number: f.number}
	i, known := slices.BinarySearchFunc(t.versions, v, func(a, b version) int { return a.compare(b.place) })
	if known {
		return
	}
	t.versions = slices.Insert(t.versions, i, v)
	s.used += v.size()
	// Only the newest of those before the last day matters.
	n := 0
	for n+1 < len(t.versions) && t.versions[n+1].ms < s.since {
		s.used -= t.versions[n].size()
		n++
	}
	t.versions = slices.Delete(t.versions, 0, n)
}

func (v *version) size() int64 { return int64(96 + len(v.value)) }

// size is what the state takes in memory, about. used is the same from its being kept on, without counting again.
func (s *state) size() int64 {
	n := int64(1024) + s.day.size() + s.week.size() // and what it has besides
	for _, id := range slices.Concat(s.ids.Users, s.ids.Anonymous) {
		n += 128 + 2*int64(len(id)) // here and in byID
	}
	for k, t := range s.traits {
		n += int64(128 + len(k))
		for i := range t.versions {
			n += t.versions[i].size()
		}
	}
	for i := range s.steps {
		n += s.steps[i].size()
	}
	for _, list := range [][]shown{s.recent, s.requests} {
		for i := range list {
			n += list[i].size()
		}
	}
	return n
}

// value is the trait's at a place, if it had one.
func (t *trait) value(p place) (v version, ok bool) {
	for _, v := range slices.Backward(t.versions) {
		if v.compare(p) <= 0 {
			return v, true
		}
	}
	return v, false
}

func (t *trait) newest() version { return t.versions[len(t.versions)-1] }

// over says that the state must be read anew.
func (s *state) over(now int64) bool { return now >= s.loaded+life.Milliseconds() }

// find is an event by its id, among those that are kept.
func (s *state) find(id string) (shown, bool) {
	for _, list := range [][]shown{s.requests, s.recent} {
		for _, e := range slices.Backward(list) {
			if e.id == id {
				return e, true
			}
		}
	}
	return shown{}, false
}
