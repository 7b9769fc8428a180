package reports

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"
	"time"
)

// visits are the sessions that begin in the period.
func (m *model) visits() (list [][]*happening) {
	for _, events := range m.byPerson(m.from.Add(-30 * time.Minute)) {
		slices.SortFunc(events, func(a, b *happening) int {
			return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.shard, b.shard), cmp.Compare(a.seq, b.seq), cmp.Compare(a.idx, b.idx))
		})
		var visit []*happening
		for i, h := range events {
			if i > 0 && h.at.Sub(events[i-1].at) > 30*time.Minute {
				list = append(list, visit)
				visit = nil
			}
			visit = append(visit, h)
		}
		list = append(list, visit)
	}
	return slices.DeleteFunc(list, func(v []*happening) bool { return v[0].at.Before(m.from) })
}

func (m *model) sessionStat(visits [][]*happening) SessionStat {
	who := map[string]bool{}
	events, bounced := 0, 0
	var length time.Duration
	for _, v := range visits {
		who[v[0].person()] = true
		events += len(v)
		length += v[len(v)-1].at.Sub(v[0].at)
		if len(v) == 1 {
			bounced++
		}
	}
	s := SessionStat{
		Sessions: m.people(len(visits)), Users: m.people(len(who)), Events: m.people(events), Bounced: m.people(bounced),
	}
	if len(visits) > 0 {
		s.Seconds = math.Round(float64(length.Milliseconds())/float64(len(visits))) / 1000
	}
	return s
}

func (m *model) sessions() Sessions {
	visits := m.visits()
	s := Sessions{Interval: m.interval, Buckets: m.starts, Total: m.sessionStat(visits)}
	for b := range m.starts {
		s.Values = append(s.Values, m.sessionStat(slices.DeleteFunc(slices.Clone(visits), func(v []*happening) bool { return m.bucket(v[0].at) != b })))
	}
	return s
}

func (m *model) paths(start, end string, depth, limit int) Paths {
	counts := map[string]int{}
	steps := map[string][]string{}
	sessions := 0
	for _, v := range m.visits() {
		var names []string
		for _, h := range v {
			if len(names) == 0 || names[len(names)-1] != h.name() {
				names = append(names, h.name())
			}
		}
		switch {
		case start != "":
			i := slices.Index(names, start)
			if i < 0 {
				continue
			}
			names = names[i:]
		case end != "":
			i := slices.Index(names, end)
			if i < 0 {
				continue
			}
			names = names[max(0, i+1-depth) : i+1]
		}
		names = names[:min(depth, len(names))]
		key := strings.Join(names, "\xff")
		counts[key]++
		steps[key] = names
		sessions++
	}
	p := Paths{Paths: []Path{}, Different: uint64(len(counts)), Sessions: m.people(sessions)}
	var keys []string
	for k := range counts {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool {
		a, b := keys[i], keys[j]
		if counts[a] != counts[b] {
			return counts[a] > counts[b]
		}
		return slices.Compare(steps[a], steps[b]) < 0
	})
	for _, k := range keys[:min(limit, len(keys))] {
		p.Paths = append(p.Paths, Path{steps[k], m.people(counts[k])})
	}
	return p
}

func (m *model) revenueStat(list []*happening, other bool) RevenueStat {
	who := map[string]bool{}
	sum, average := 0.0, 0.0
	for _, h := range list {
		who[h.person()] = true
		sum += h.numbers["revenue"]
	}
	if len(list) > 0 {
		average = sum / float64(len(list))
	}
	s := RevenueStat{Orders: m.people(len(list)), Buyers: m.people(len(who))}
	if sum /= m.sample; !other {
		s.Revenue, s.Average = &sum, &average
	}
	return s
}

func (m *model) currency(name string, other bool, list []*happening) Currency {
	c := Currency{Currency: name, Other: other, Total: m.revenueStat(list, other)}
	for b := range m.starts {
		c.Values = append(c.Values, m.revenueStat(slices.DeleteFunc(slices.Clone(list), func(h *happening) bool { return m.bucket(h.at) != b }), other))
	}
	return c
}

// revenue has series of the currencies that are given, else of the leading ones.
func (m *model) revenue(limit int, only []string) Revenue {
	r := Revenue{Interval: m.interval, Buckets: m.starts, Currencies: []Currency{}}
	by := map[string][]*happening{}
	for _, h := range m.chosen(m.from) {
		c := strings.ToUpper(h.properties["currency"])
		by[c] = append(by[c], h)
	}
	var names []string
	for name := range by {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(by[b]), len(by[a])), cmp.Compare(a, b))
	})
	var rest []*happening
	for i, name := range names {
		if only == nil && i < limit || slices.Contains(only, name) {
			r.Currencies = append(r.Currencies, m.currency(name, false, by[name]))
		} else {
			rest = append(rest, by[name]...)
		}
	}
	if len(rest) > 0 {
		r.Currencies = append(r.Currencies, m.currency("", true, rest))
	}
	return r
}

func (m *model) timeline(user string) (list []TimelineEvent) {
	found := slices.DeleteFunc(m.chosen(m.from), func(h *happening) bool { return h.person() != user })
	slices.SortFunc(found, func(b, a *happening) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.shard, b.shard), cmp.Compare(a.seq, b.seq), cmp.Compare(a.idx, b.idx))
	})
	for _, h := range found {
		properties := h.properties
		if properties == nil {
			properties = map[string]string{}
		}
		list = append(list, TimelineEvent{
			Timestamp: h.at, Name: h.name(), Type: h.typ, Source: h.source, ID: fmt.Sprintf("%d-%d-%d", h.shard, h.seq, h.idx),
			UserID: h.user, AnonymousID: h.anonymous, URL: h.url, Properties: properties, Receipt: fmt.Sprintf("%d:%d", h.shard, h.seq),
		})
	}
	return list
}
