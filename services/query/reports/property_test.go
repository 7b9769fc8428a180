package reports

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// awkward are texts that quoting gets wrong.
func awkward() []string {
	return []string{"it's", `back\slash`, "tab\there", "new\nline", "ünï 💧", `'); DROP TABLE events --`, "{x:String}", "\\'", "nul\x00in", "bell\b\f\r"}
}

func pick[T any](g *rand.Rand, list []T) T { return list[g.IntN(len(list))] }

func some(g *rand.Rand, most int, list []string) (out []string) {
	for range g.IntN(most + 1) {
		if v := pick(g, list); !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

// story is one round: random events and a period over them.
type story struct {
	g        *rand.Rand
	sources  []string // those of this round alone
	names    []string
	people   []string
	events   []happening
	from, to time.Time
	zone     string
	interval string
}

func newStory(seed uint64) *story {
	g := rand.New(rand.NewPCG(seed, 1))
	s := &story{g: g}
	n := strconv.FormatUint(seed, 10)
	s.sources = []string{"web-" + n, "app-" + n}
	s.names = append([]string{"A", "B", "C", "D", "Order Completed"}, pick(g, awkward()))
	for i := range 1 + g.IntN(25) {
		s.people = append(s.people, fmt.Sprintf("p%d", i))
	}
	s.people = append(s.people, pick(g, awkward()))
	s.zone = pick(g, []string{"UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Sydney", "America/Santiago", "America/Havana", "Africa/Cairo"})
	zone, err := time.LoadLocation(s.zone)
	if err != nil {
		panic(err)
	}
	s.interval = pick(g, []string{"minute", "hour", "day", "day", "day", "week", "month"})
	// Around the nights in which clocks change, too, and around New Year and the end of February.
	day := pick(g, [][3]int{{2026, 3, 28}, {2026, 10, 24}, {2026, 4, 4}, {2026, 11, 1}, {2025, 12, 30}, {2024, 2, 27}, {2026, 6, 15}, {1990, 1, 1}, {2026, 9, 5}, {2026, 3, 7}, {2026, 4, 23}})
	begin := time.Date(day[0], time.Month(day[1]), day[2], 0, 0, 0, 0, zone)
	length := map[string][2]int{"minute": {1, 600}, "hour": {1, 120}, "day": {1, 45}, "week": {1, 100}, "month": {1, 500}}[s.interval]
	units := time.Duration(length[0] + g.IntN(length[1]))
	s.from = begin
	switch s.interval {
	case "minute":
		s.to = begin.Add(units * time.Minute)
	case "hour":
		s.to = begin.Add(units * time.Hour)
	default:
		s.to = begin.AddDate(0, 0, int(units))
	}
	if g.IntN(2) == 0 { // not at the border of anything
		s.from = s.from.Add(time.Duration(g.Int64N(int64(36*time.Hour))) / time.Millisecond * time.Millisecond)
		s.to = s.to.Add(time.Duration(1+g.Int64N(int64(72*time.Hour))) / time.Millisecond * time.Millisecond)
	}
	if !s.from.Before(s.to) {
		s.to = s.from.Add(time.Millisecond)
	}
	if s.interval == "minute" && s.to.Sub(s.from) > 24*time.Hour {
		s.to = s.from.Add(24 * time.Hour)
	}
	s.from, s.to = s.from.UTC(), s.to.UTC()
	if g.IntN(15) > 0 && seed > 0 { // else nothing happened
		for range g.IntN(400) {
			s.happen()
		}
	}
	return s
}

// happen adds an event. Its time is often one that matters: a border, or that of another event, or a certain time later.
func (s *story) happen() {
	g, length := s.g, s.to.Sub(s.from)
	var e happening
	if len(s.events) > 0 && g.IntN(20) == 0 { // the same thing again
		e = pick(g, s.events)
	} else {
		e = happening{source: pick(g, s.sources), typ: "track", event: pick(g, s.names), browser: pick(g, []string{"", "Firefox", "Chrome"})}
		if g.IntN(6) == 0 {
			e.typ, e.event = pick(g, []string{"page", "identify"}), ""
			e.url = "https://example.test/" + pick(g, awkward())
		}
		switch who := pick(g, s.people); g.IntN(4) {
		case 0:
			e.anonymous = who
		case 1:
			e.user, e.anonymous = who, pick(g, s.people)
		default:
			e.user = who
		}
		if g.IntN(3) > 0 {
			e.properties, e.numbers = map[string]string{}, map[string]float64{}
			if g.IntN(2) == 0 {
				e.properties["plan"] = pick(g, append([]string{"", "pro", "free", "team"}, awkward()...))
			}
			if g.IntN(2) == 0 {
				e.properties["currency"] = pick(g, []string{"eur", "EUR", "usd", ""})
			}
			if g.IntN(2) == 0 { // a quarter adds up without rounding
				e.numbers["revenue"] = float64(g.IntN(4000))/4 - 100
				e.properties["revenue"] = strconv.FormatFloat(e.numbers["revenue"], 'g', -1, 64)
			}
			if g.IntN(8) == 0 {
				e.properties["it's"] = "odd"
			}
		}
	}
	before := s.from
	if len(s.events) > 0 {
		other := pick(g, s.events)
		if before = other.at; g.IntN(2) == 0 {
			e.user, e.anonymous = other.user, other.anonymous
		}
	}
	ms := time.Duration(g.IntN(3)-1) * time.Millisecond
	switch g.IntN(10) {
	case 0:
		e.at = pick(g, []time.Time{s.from, s.to, s.from.Add(-30 * time.Minute), s.to.Add(-30 * time.Minute)}).Add(ms)
	case 1:
		e.at = before
	case 2:
		e.at = before.Add(30 * time.Minute).Add(ms)
	case 3:
		e.at = before.Add(window).Add(ms)
	case 4:
		e.at = before.Truncate(24 * time.Hour).Add(ms)
	case 5:
		e.at = before.Add(time.Duration(g.IntN(20)) * time.Minute)
	case 6:
		e.at = s.from.Add(-time.Hour).Add(time.Duration(g.Int64N(int64(length + 2*time.Hour))))
	default:
		e.at = s.from.Add(time.Duration(g.Int64N(int64(length))))
	}
	e.at = e.at.Truncate(time.Millisecond)
	e.shard, e.seq, e.idx = uint16(g.IntN(3)), uint64(1+g.IntN(4)), uint32(len(s.events)) // the index makes it one of its kind
	s.events = append(s.events, e)
}

// window of funnels, so that events can lie at its border.
const window = 90 * time.Minute

// dims are dimensions with what they are of an event.
func dims() map[string]func(*happening) string {
	return map[string]func(*happening) string{
		"name":            (*happening).name,
		"event":           func(h *happening) string { return h.event },
		"source":          func(h *happening) string { return h.source },
		"browser":         func(h *happening) string { return h.browser },
		"properties.plan": func(h *happening) string { return h.properties["plan"] },
		"properties.it's": func(h *happening) string { return h.properties["it's"] },
	}
}

// question adds what all reports take to values, and returns the model that knows it.
func (s *story) question(values url.Values) *model {
	g := s.g
	zone, _ := time.LoadLocation(s.zone) // it was loaded before
	m := &model{events: s.events, zone: zone, interval: s.interval, sample: 1, where: func(*happening) bool { return true }}
	values.Set("zone", s.zone)
	values.Set("interval", s.interval)
	values.Set("from", s.from.Format(time.RFC3339Nano))
	values.Set("to", s.to.In(zone).Format(time.RFC3339Nano))
	m.sources = s.sources
	if g.IntN(4) == 0 {
		m.sources = s.sources[:1]
	}
	values["source"] = m.sources
	if g.IntN(3) == 0 {
		name := pick(g, slices.Sorted(maps.Keys(dims())))
		value := pick(g, append([]string{"", "A", "page", "Chrome", "pro", "odd", s.sources[0]}, awkward()...))
		op, equal := "=", true
		if g.IntN(2) == 0 {
			op, equal = "!=", false
		}
		values.Set("where", name+op+value)
		m.where = func(h *happening) bool { return (dims()[name](h) == value) == equal }
	}
	if g.IntN(5) == 0 {
		m.sample = pick(g, []float64{0.5, 0.25, 0.125})
		values.Set("sample", fmt.Sprint(m.sample))
	}
	if g.IntN(3) == 0 {
		values.Set("compare", "true")
	}
	return m
}

// some measure, set in values too.
func (s *story) measure(values url.Values) (what, property string) {
	what = pick(s.g, []string{"count", "users", "sum", "average"})
	values.Set("measure", what)
	if what == "sum" || what == "average" {
		property = "revenue"
		values.Set("property", property)
	}
	return what, property
}

func (s *story) named(values url.Values, m *model) {
	if m.names = some(s.g, 3, append([]string{"page"}, s.names...)); len(m.names) > 0 {
		values["event"] = m.names
	}
}

// TestReportsEqualPlainGo asks every report about random events and compares each answer, and that of the period before,
// with the model's.
func TestReportsEqualPlainGo(t *testing.T) {
	r := newRig(t)
	seeds := []uint64{uint64(time.Now().UnixNano())}
	for i := range uint64(30) {
		seeds = append(seeds, i)
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := &rig{T: t, db: r.db, client: r.client, reports: r.reports, now: r.now}
			s := newStory(seed)
			r.store(s.events)
			for range 2 {
				for name, play := range plays() {
					values := url.Values{}
					m := s.question(values)
					expect := play(s, values, m)
					r.compare(name, values, m, expect)
				}
			}
		})
	}
}

// compare compares an answer, and the one of the period before, with the model's.
func (r *rig) compare(name string, values url.Values, m *model, expect func(previous bool) any) {
	r.Helper()
	a := r.ask(name, values)
	check := func(what string, got json.RawMessage, from, to time.Time, previous bool) {
		r.Helper()
		// Where the buckets begin has a test of its own; here it matters what falls into them.
		m.over(from, to, period{from: from, to: to, zone: m.zone, interval: m.interval}.buckets())
		want, err := json.Marshal(expect(previous))
		if err != nil {
			r.Fatal(err)
		}
		if string(want) != string(got) {
			q := strings.ReplaceAll(values.Encode(), "&", " ")
			r.Errorf("%s %s, %s, %s - %s:\n got  %s\n want %s", name, what, q, from, to, got, want)
		}
	}
	check("", a.Result, a.From, a.To, false)
	if values.Get("compare") == "true" {
		check("(previous)", a.Previous.Result, a.Previous.From, a.Previous.To, true)
	}
}
