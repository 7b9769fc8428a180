package reports

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"time"

	"github.com/cespare/xxhash/v2"
)

// model is an independent computation of every report: plain Go over a list of events, the slow and obvious way. It
// shares the types of the answers with the reports and nothing else; what it knows of buckets are the times at which the answer says that they begin.
type model struct {
	events   []happening
	from, to time.Time
	zone     *time.Location
	interval string
	starts   []time.Time
	labels   map[string]int // of starts
	sources  []string
	names    []string
	where    func(*happening) bool
	sample   float64
}

// in says whether a question looks at the event at all.
func (m *model) in(h *happening, from time.Time) bool {
	if h.at.Before(from) || !h.at.Before(m.to) {
		return false
	}
	if len(m.sources) > 0 && !slices.Contains(m.sources, h.source) {
		return false
	}
	if len(m.names) > 0 && !slices.Contains(m.names, h.name()) {
		return false
	}
	if m.sample < 1 && float64(xxhash.Sum64String(h.person())%10000) >= math.Round(m.sample*10000) {
		return false
	}
	return m.where(h)
}

func (m *model) chosen(from time.Time) (list []*happening) {
	for i := range m.events {
		if m.in(&m.events[i], from) {
			list = append(list, &m.events[i])
		}
	}
	return list
}

func (m *model) people(n int) uint64 { return uint64(math.Round(float64(n) / m.sample)) }

// label names the bucket of a time in words of the calendar.
func (m *model) label(t time.Time) string {
	t = t.In(m.zone)
	switch m.interval {
	case "minute":
		return t.Format("2006-01-02 15:04 -0700")
	case "hour":
		return t.Format("2006-01-02 15 -0700")
	case "day":
		return t.Format("2006-01-02")
	case "week":
		y, w := t.ISOWeek()
		return fmt.Sprint(y, "-", w)
	}
	return t.Format("2006-01")
}

// over sets the period and the times at which its buckets begin. No two are the same in words of the calendar, and
// together they are all of the period.
func (m *model) over(from, to time.Time, starts []time.Time) {
	m.from, m.to, m.starts, m.labels = from, to, starts, map[string]int{}
	for i, at := range starts {
		m.labels[m.label(at)] = i
	}
	if len(m.labels) != len(starts) {
		panic(fmt.Sprintf("buckets begin at the same %s: %s", m.interval, starts))
	}
}

func (m *model) bucket(t time.Time) int {
	label := m.label(t)
	i, ok := m.labels[label]
	if !ok {
		panic(fmt.Sprintf("no bucket for %s among %s", t, m.starts))
	}
	return i
}

func (m *model) measure(what, property string, list []*happening) *float64 {
	var x float64
	switch what {
	case "count":
		x = float64(len(list)) / m.sample
	case "users":
		who := map[string]bool{}
		for _, h := range list {
			who[h.person()] = true
		}
		x = float64(len(who)) / m.sample
	default:
		n := 0
		for _, h := range list {
			if v, ok := h.numbers[property]; ok {
				x += v
				n++
			}
		}
		if what == "average" {
			if n == 0 {
				return nil
			}
			x /= float64(n)
		} else {
			x /= m.sample
		}
	}
	return &x
}

// measurable are the events that count for a measure.
func measurable(what, property string, list []*happening) []*happening {
	if what == "count" || what == "users" {
		return list
	}
	return slices.DeleteFunc(slices.Clone(list), func(h *happening) bool { _, ok := h.numbers[property]; return !ok })
}

func (m *model) series(what, property, value string, other bool, list []*happening) Series {
	s := Series{Value: value, Other: other, Total: m.measure(what, property, list)}
	by := make([][]*happening, len(m.starts))
	for _, h := range list {
		b := m.bucket(h.at)
		by[b] = append(by[b], h)
	}
	for _, list := range by {
		s.Values = append(s.Values, m.measure(what, property, list))
	}
	return s
}

func dereference(x *float64) float64 {
	if x == nil {
		return math.Inf(-1)
	}
	return *x
}

// leading are values by a measure, the largest first.
func (m *model) leading(what, property string, list []*happening, dim func(*happening) string) (values []string, by map[string][]*happening) {
	by = map[string][]*happening{}
	for _, h := range list {
		by[dim(h)] = append(by[dim(h)], h)
	}
	for v := range by {
		values = append(values, v)
	}
	sort.Slice(values, func(i, j int) bool {
		a, b := dereference(m.measure(what, property, by[values[i]])), dereference(m.measure(what, property, by[values[j]]))
		if a != b {
			return a > b
		}
		return values[i] < values[j]
	})
	return values, by
}

func (m *model) trend(what, property string, dim func(*happening) string, limit int, only []string) Trend {
	t := Trend{Interval: m.interval, Buckets: m.starts, Series: []Series{}}
	list := measurable(what, property, m.chosen(m.from))
	if dim == nil {
		t.Series = append(t.Series, m.series(what, property, "", false, list))
		return t
	}
	values, by := m.leading(what, property, list, dim)
	var rest []*happening
	for i, v := range values {
		if only == nil && i < limit || slices.Contains(only, v) {
			t.Series = append(t.Series, m.series(what, property, v, false, by[v]))
		} else {
			rest = append(rest, by[v]...)
		}
	}
	if len(rest) > 0 {
		t.Series = append(t.Series, m.series(what, property, "", true, rest))
	}
	return t
}

// top answers for the values that are given, else for the leading ones.
func (m *model) top(what, property string, dim func(*happening) string, limit int, only []string) Top {
	list := measurable(what, property, m.chosen(m.from))
	if only != nil {
		list = slices.DeleteFunc(list, func(h *happening) bool { return !slices.Contains(only, dim(h)) })
	}
	values, by := m.leading(what, property, list, dim)
	t := Top{Rows: []TopRow{}, Values: uint64(len(values)), Total: m.measure(what, property, list)}
	for i, v := range values {
		if i < limit {
			t.Rows = append(t.Rows, TopRow{v, m.measure(what, property, by[v])})
		}
	}
	return t
}
