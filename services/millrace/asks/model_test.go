package asks

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/millrace/millrace/services/query/users"
)

const (
	day     = int64(24 * time.Hour / time.Millisecond)
	silence = int64(30 * time.Minute / time.Millisecond)
	skew    = int64(5 * time.Minute / time.Millisecond) // later than that is no part of the current session
)

// whose are the events of a user, oldest first, and the ids under which they are.
func (p *person) whose(who users.User) (list []*sent, ids users.IDs) {
	people, devices := map[string]bool{}, map[string]bool{}
	if who.Anonymous {
		devices[who.ID] = true
	} else {
		people[who.ID] = true
	}
	for grown := true; grown; {
		n := len(people) + len(devices)
		for _, s := range p.history {
			switch {
			case s.user == "" || !people[s.user]:
			case s.kind == "identify" && s.anonymous != "":
				devices[s.anonymous] = true
			case s.kind == "alias" && s.previous != "":
				people[s.previous], devices[s.previous] = true, true
			}
		}
		grown = len(people)+len(devices) > n
	}
	for _, s := range p.history {
		if s.user != "" && people[s.user] || s.user == "" && devices[s.anonymous] {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b *sent) int { return cmp.Compare(a.ms, b.ms) })
	return list, users.IDs{Users: sorted(people), Anonymous: sorted(devices)}
}

func sorted(set map[string]bool) []string {
	return append([]string{}, slices.Sorted(maps.Keys(set))...)
}

// expect is what must be answered about a user at a time; own is the event of an ask, most how many events are shown.
func (p *person) expect(who users.User, now int64, own *sent, most int) *users.Context {
	list, ids := p.whose(who)
	a := &users.Context{
		User: who.ID, Source: shop, IDs: ids, Complete: true, Recent: []users.Event{},
		Profile: users.Profile{
			Traits: map[string]users.Value{}, Events: uint64(len(list)),
			Counts: users.Counts{Day: map[string]uint64{}, Week: map[string]uint64{}},
		},
	}
	for _, s := range list {
		if s.ms > now-day {
			a.Profile.Counts.Day[s.name]++
		}
		if s.ms > now-7*day {
			a.Profile.Counts.Week[s.name]++
		}
		maps.Copy(a.Profile.Traits, s.traits)
	}
	if n := len(list); n > 0 {
		a.Profile.FirstSeen, a.Profile.LastSeen = stamp(list[0].ms), stamp(list[n-1].ms)
	}
	shown := list[max(0, len(list)-most):]
	if own != nil && !slices.Contains(shown, own) {
		shown = append([]*sent{own}, list[len(list)-most+1:]...)
	}
	for _, s := range slices.Backward(shown) {
		a.Recent = append(a.Recent, s.event())
	}
	a.Session, a.Since = session(list, now), since(list, now, own)
	if own != nil {
		e := own.event()
		a.Request = &e
	}
	return a
}

func (s *sent) event() users.Event {
	e := users.Event{Event: s.name, Type: s.kind, EventID: s.id, Timestamp: stamp(s.ms), Properties: s.properties}
	if e.Properties == nil {
		e.Properties = map[string]users.Value{}
	}
	return e
}

func session(list []*sent, now int64) *users.Session {
	to := len(list)
	for to > 0 && list[to-1].ms > now+skew {
		to--
	}
	if to == 0 || now-list[to-1].ms > silence {
		return nil
	}
	from := to - 1
	for from > 0 && list[from].ms-list[from-1].ms <= silence {
		from--
	}
	r := &users.Session{StartedAt: stamp(list[from].ms), LastAt: stamp(list[to-1].ms), Events: to - from, Pages: []string{}, Steps: []string{}}
	for _, s := range list[from:to] {
		r.ID = cmp.Or(s.session, r.ID)
		if s.path != "" {
			r.Pages = append(r.Pages, s.path)
		}
		r.Steps = append(r.Steps, s.name)
	}
	r.Pages, r.Steps = r.Pages[max(0, len(r.Pages)-100):], r.Steps[max(0, len(r.Steps)-100):]
	return r
}

func since(list []*sent, now int64, own *sent) *users.Since {
	at := -1
	for i, s := range list {
		if s.request && s.ms > now-day-day/48 && (own == nil || s.ms < own.ms) {
			at = i
		}
	}
	if at < 0 {
		return nil
	}
	before := list[at]
	r := &users.Since{Event: before.name, Timestamp: stamp(before.ms), Events: map[string]uint64{}, Traits: map[string]users.Change{}}
	was, is := map[string]users.Value{}, map[string]users.Value{}
	for i, s := range list {
		maps.Copy(is, s.traits)
		if i <= at {
			maps.Copy(was, s.traits)
		} else if s != own {
			r.Events[s.name]++
		}
	}
	for k, to := range is {
		switch from, had := was[k]; {
		case !had:
			r.Traits[k] = users.Change{To: to}
		case from != to:
			r.Traits[k] = users.Change{From: &from, To: to}
		}
	}
	return r
}

// equal compares an answer with what is expected, but for places, which the model does not know: only that each is there.
func equal(t *testing.T, want, got *users.Context) (diff string) {
	t.Helper()
	if got.Covers == "" {
		return "it covers nothing"
	}
	w, g := *want, *got
	w.Receipt, w.Covers, w.AsOf, w.Repeat, w.Lacks = got.Receipt, got.Covers, got.AsOf, got.Repeat, got.Lacks
	slices.Sort(g.IDs.Users)
	slices.Sort(g.IDs.Anonymous)
	g.Recent = slices.Clone(got.Recent)
	for i := range g.Recent {
		if g.Recent[i].Receipt == "" {
			return "an event has no receipt"
		}
		g.Recent[i].Receipt = ""
	}
	if g.Request != nil {
		e := *g.Request
		e.Receipt = ""
		g.Request = &e
	}
	if g.Since != nil {
		s := *g.Since
		s.Receipt, s.Seconds = "", 0
		g.Since = &s
	}
	if g.Session != nil && w.Session != nil && w.Session.ID == "" { // that of a place
		s := *g.Session
		s.ID = ""
		g.Session = &s
	}
	if a, b := text(t, &w), text(t, &g); a != b {
		return "want " + a + "\ngot  " + b
	}
	return ""
}

func text(t *testing.T, c *users.Context) string {
	t.Helper()
	b, err := json.Marshal(c)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}
