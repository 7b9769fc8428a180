package reports

import (
	"cmp"
	"slices"
	"sort"
	"time"
)

// level is how far somebody came: the best of all events of the first step to begin with, and then always the next step
// as early as possible.
func level(list []*happening, steps []string, window time.Duration) int {
	best := 0
	for _, first := range list {
		if first.name() != steps[0] {
			continue
		}
		reached, now := 1, first.at
		for reached < len(steps) {
			var next *happening
			for _, h := range list {
				if h.name() == steps[reached] && !h.at.Before(now) && h.at.Sub(first.at) <= window && (next == nil || h.at.Before(next.at)) {
					next = h
				}
			}
			if next == nil {
				break
			}
			reached, now = reached+1, next.at
		}
		best = max(best, reached)
	}
	return best
}

func (m *model) byPerson(from time.Time) map[string][]*happening {
	by := map[string][]*happening{}
	for _, h := range m.chosen(from) {
		by[h.person()] = append(by[h.person()], h)
	}
	return by
}

func (m *model) funnelSteps(steps []string, levels []int) (list []FunnelStep) {
	for i, name := range steps {
		n := 0
		for _, l := range levels {
			if l > i {
				n++
			}
		}
		s := FunnelStep{Event: name, Users: m.people(n)}
		first, before := s.Users, s.Users
		if i > 0 {
			first, before = list[0].Users, list[i-1].Users
		}
		s.Lost = before - s.Users
		if first > 0 {
			s.OfFirst = float64(s.Users) / float64(first)
		}
		if before > 0 {
			s.OfPrevious = float64(s.Users) / float64(before)
		}
		list = append(list, s)
	}
	return list
}

func (m *model) funnel(steps []string, window time.Duration, dim func(*happening) string, limit, dropped, droppedLimit int, only []string) Funnel {
	var all []int
	segments := map[string][]int{}
	var f Funnel
	for person, list := range m.byPerson(m.from) {
		l := level(list, steps, window)
		all = append(all, l)
		var last time.Time
		for _, h := range list {
			if h.at.After(last) {
				last = h.at
			}
		}
		if l > 0 && l == dropped {
			f.Dropped = append(f.Dropped, Dropped{person, last})
		}
		if l == 0 || dim == nil {
			continue
		}
		var entry *happening
		for _, h := range list {
			if h.name() == steps[0] && (entry == nil || h.at.Before(entry.at) || h.at.Equal(entry.at) && dim(h) < dim(entry)) {
				entry = h
			}
		}
		segments[dim(entry)] = append(segments[dim(entry)], l)
	}
	f.Steps = m.funnelSteps(steps, all)
	slices.SortFunc(f.Dropped, func(a, b Dropped) int {
		return cmp.Or(b.Last.Compare(a.Last), cmp.Compare(a.User, b.User))
	})
	if len(f.Dropped) > droppedLimit {
		f.Dropped = f.Dropped[:droppedLimit]
	}
	var values []string
	for v := range segments {
		values = append(values, v)
	}
	sort.Slice(values, func(i, j int) bool {
		a, b := len(segments[values[i]]), len(segments[values[j]])
		return a > b || a == b && values[i] < values[j]
	})
	var rest []int
	for i, v := range values {
		if only == nil && i < limit || slices.Contains(only, v) {
			f.Segments = append(f.Segments, FunnelSegment{Value: v, Steps: m.funnelSteps(steps, segments[v])})
		} else {
			rest = append(rest, segments[v]...)
		}
	}
	if rest != nil {
		f.Segments = append(f.Segments, FunnelSegment{Other: true, Steps: m.funnelSteps(steps, rest)})
	}
	return f
}

func (m *model) retention(start, back []string, mode string, periods int) Retention {
	r := Retention{Interval: m.interval, Mode: mode}
	is := func(h *happening, names []string) bool { return len(names) == 0 || slices.Contains(names, h.name()) }
	people := m.byPerson(m.from)
	for c, at := range m.starts {
		cohort := Cohort{Start: at}
		returned := make([]int, min(periods, len(m.starts)-1-c)+1)
		size := 0
		for _, list := range people {
			first := -1
			for _, h := range list {
				if b := m.bucket(h.at); is(h, start) && (first < 0 || b < first) {
					first = b
				}
			}
			if first != c {
				continue
			}
			size++
			for k := range returned {
				if slices.ContainsFunc(list, func(h *happening) bool {
					b := m.bucket(h.at)
					return is(h, back) && (b == c+k || mode == "unbounded" && b > c+k)
				}) {
					returned[k]++
				}
			}
		}
		cohort.Size = m.people(size)
		for _, n := range returned {
			cohort.Returned = append(cohort.Returned, m.people(n))
			s := 0.0
			if cohort.Size > 0 {
				s = float64(m.people(n)) / float64(cohort.Size)
			}
			cohort.Shares = append(cohort.Shares, s)
		}
		r.Cohorts = append(r.Cohorts, cohort)
	}
	return r
}

func (m *model) stickiness() Stickiness {
	s := Stickiness{Interval: m.interval, Intervals: len(m.starts), ActiveIn: make([]uint64, len(m.starts))}
	in := make([]int, len(m.starts))
	users, visits := 0, 0
	for _, list := range m.byPerson(m.from) {
		active := map[int]bool{}
		for _, h := range list {
			active[m.bucket(h.at)] = true
		}
		in[len(active)-1]++
		users++
		visits += len(active)
	}
	for i, n := range in {
		s.ActiveIn[i] = m.people(n)
	}
	s.Users = m.people(users)
	if users > 0 {
		s.Average = float64(visits) / m.sample / float64(len(m.starts))
		s.Ratio = float64(visits) / float64(len(m.starts)) / float64(users)
	}
	return s
}
