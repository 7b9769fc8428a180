package users

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/millrace/millrace/libs/bus"
)

// Context is what is known of a user.
type Context struct {
	User    string   `json:"user"` // the id that was asked about
	Source  string   `json:"source"`
	IDs     IDs      `json:"ids"`
	Profile Profile  `json:"profile"`
	Session *Session `json:"session"` // null when the user has been silent for half an hour
	Recent  []Event  `json:"recent"`  // the newest first
	Since   *Since   `json:"since"`   // null when there was no request in the day before

	Request *Event `json:"request,omitempty"` // of an ask: its own event
	Repeat  bool   `json:"repeat,omitempty"`  // it had been stored before
	Receipt string `json:"receipt"`           // of an ask: of its event, which the answer includes; else what was asked for
	Covers  string `json:"covers"`            // every event up to these frames is in the answer
	AsOf    string `json:"as_of"`

	Complete bool   `json:"complete"`
	Lacks    []Lack `json:"lacks,omitempty"` // why it is not
}

// IDs are those under which events are the user's.
type IDs struct {
	Users     []string `json:"users"`
	Anonymous []string `json:"anonymous"`
}

// Profile is what is known of a user over all time.
type Profile struct {
	Traits    map[string]Value `json:"traits"`
	FirstSeen string           `json:"first_seen,omitempty"` // by the events' own timestamps
	LastSeen  string           `json:"last_seen,omitempty"`
	Events    uint64           `json:"events"`
	Counts    Counts           `json:"counts"`
}

// Counts are events by name, or by type where they have none.
type Counts struct {
	Day  map[string]uint64 `json:"24h"`
	Week map[string]uint64 `json:"7d"`
}

// Session is a run of events without half an hour's silence.
type Session struct {
	ID        string   `json:"id"` // the client's, or the place of the first event
	StartedAt string   `json:"started_at"`
	LastAt    string   `json:"last_at"`
	Events    int      `json:"events"`
	Pages     []string `json:"pages"`             // the last 100, in order
	Steps     []string `json:"steps"`             // the last 100 events, in order
	Partial   bool     `json:"partial,omitempty"` // it began before what was looked at: a day, or 5,000 events
}

// Event is one event of a user.
type Event struct {
	Event      string           `json:"event"`
	Type       string           `json:"type"`
	EventID    string           `json:"event_id"`
	Timestamp  string           `json:"timestamp"`
	Properties map[string]Value `json:"properties"`
	Receipt    string           `json:"receipt"` // shard:sequence
}

// Since is what has changed since the user's last request before this one.
type Since struct {
	Event     string            `json:"event"`
	Timestamp string            `json:"timestamp"`
	Receipt   string            `json:"receipt"`
	Seconds   float64           `json:"seconds"`
	Events    map[string]uint64 `json:"events"`
	Traits    map[string]Change `json:"traits"`
}

// Change is of a trait; From is absent when it had no value.
type Change struct {
	From *Value `json:"from,omitempty"`
	To   Value  `json:"to"`
}

// Lack is something that an answer could not look into.
type Lack struct {
	What string `json:"what"`
	Why  string `json:"why"`
	From string `json:"from,omitempty"` // shard:sequence, where it is a run of frames
	To   string `json:"to,omitempty"`
}

// What can lack.
const (
	LackHistory    = "history"    // what is in ClickHouse
	LackTail       = "tail"       // frames that are not in ClickHouse yet
	LackDoor       = "door"       // what the NATS door has acknowledged and no ingester has taken
	LackRequest    = "request"    // the event of an ask itself
	LackIDs        = "ids"        // further ids of the user
	LackIdentifies = "identifies" // old traits
	LackNames      = "names"      // events of rare names, in the counts
)

// Value is one of properties or traits: a number in the spelling that was sent, or text.
type Value struct {
	Text   string
	Number bool
}

// MarshalJSON implements json.Marshaler.
func (v Value) MarshalJSON() ([]byte, error) {
	if v.Number && json.Valid([]byte(v.Text)) {
		return []byte(v.Text), nil
	}
	return json.Marshal(v.Text)
}

// UnmarshalJSON implements json.Unmarshaler.
func (v *Value) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '"' {
		v.Number = false
		return json.Unmarshal(text, &v.Text)
	}
	v.Text, v.Number = string(text), true
	return nil
}

const (
	defaultRecent = 20
	maxList       = 100
	// ahead is by how much a client's clock may be fast: what is later is no part of the current session.
	ahead = 5 * time.Minute
)

func (s *state) lacking(what string) bool {
	return slices.ContainsFunc(s.lacks, func(l Lack) bool { return l.What == what })
}

func stamp(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }

func (p place) receipt() string {
	return strconv.Itoa(int(p.shard)) + ":" + strconv.FormatUint(p.seq, 10)
}

func valuesOf(fields []field) map[string]Value {
	values := make(map[string]Value, len(fields))
	for _, f := range fields {
		values[f.key] = Value{f.value, f.number}
	}
	return values
}

func (x *shown) event() Event {
	return Event{
		Event: x.name, Type: x.kind, EventID: x.id, Timestamp: stamp(x.ms), Properties: valuesOf(x.properties), Receipt: x.receipt(),
	}
}

// answer is the state in words. found is the event of an ask, where it is not among those that are kept.
func (s *state) answer(now int64, at []uint64, o *Options, found *shown) *Context {
	s.now = max(s.now, now)
	s.used -= s.day.slide(s.now) + s.week.slide(s.now)
	a := &Context{
		User: s.user.ID, Source: s.user.Source, AsOf: stamp(s.now), Covers: receiptOf(at), Receipt: o.After.String(),
		IDs:     IDs{Users: append([]string{}, s.ids.Users...), Anonymous: append([]string{}, s.ids.Anonymous...)},
		Profile: Profile{Traits: map[string]Value{}, Events: s.total, Counts: Counts{Day: clone(s.day.counts), Week: clone(s.week.counts)}},
		Lacks:   s.lacks, Complete: len(s.lacks) == 0,
	}
	if (s.day.over || s.week.over) && !s.lacking(LackNames) {
		a.Lacks = append(slices.Clip(a.Lacks), Lack{What: LackNames, Why: fmt.Sprintf("%d names of events are told apart, and there are more", maxCounted)})
		a.Complete = false
	}
	if s.total > 0 {
		a.Profile.FirstSeen, a.Profile.LastSeen = stamp(s.first), stamp(s.last)
	}
	for k, t := range s.traits {
		v := t.newest()
		a.Profile.Traits[k] = Value{v.value, v.number}
	}
	a.Session = s.session()
	most := o.recent()
	var request *shown
	if o.Own != nil {
		if x, ok := s.find(o.Own.id); ok {
			request = &x
		} else {
			request = found
		}
		a.Receipt = o.Own.receipt
	}
	s.recentOf(a, most, request)
	if request != nil {
		e := request.event()
		a.Request, a.Repeat = &e, !slices.ContainsFunc(o.Own.places.Places, func(p bus.Place) bool {
			return p.Shard == int(request.shard) && p.Seq == request.seq
		})
	} else {
		a.Repeat = o.Own != nil
	}
	a.Since = s.changes(request)
	return a
}

func clone(m map[string]uint64) map[string]uint64 {
	c := make(map[string]uint64, len(m))
	maps.Copy(c, m)
	return c
}

// recentOf lists the newest events, and the request even if it is none of these.
func (s *state) recentOf(a *Context, most int, request *shown) {
	a.Recent = []Event{}
	there := request == nil
	for i := len(s.recent) - 1; i >= 0 && len(a.Recent) < most; i-- {
		x := &s.recent[i]
		if !there && len(a.Recent) == most-1 && !x.same(request.place) {
			break // the last place is the request's
		}
		there = there || x.same(request.place)
		a.Recent = append(a.Recent, x.event())
	}
	if !there {
		a.Recent = append(a.Recent, request.event())
	}
}

// session is the run of events that the newest one belongs to, if it goes on.
func (s *state) session() *Session {
	n := len(s.steps)
	for n > 0 && s.steps[n-1].ms > s.now+ahead.Milliseconds() { // by a clock that is wrong; they come in their time
		n--
	}
	if n == 0 || s.now-s.steps[n-1].ms > silence.Milliseconds() {
		return nil
	}
	from := n - 1
	for from > 0 && s.steps[from].ms-s.steps[from-1].ms <= silence.Milliseconds() {
		from--
	}
	first, last := &s.steps[from], &s.steps[n-1]
	r := &Session{
		StartedAt: stamp(first.ms), LastAt: stamp(last.ms), Events: n - from, Pages: []string{}, Steps: []string{},
		Partial: from == 0 && first.ms-s.since <= silence.Milliseconds() && s.total > uint64(len(s.steps)),
		ID:      fmt.Sprintf("%d:%d:%d", first.shard, first.seq, first.idx),
	}
	for i := from; i < n; i++ {
		x := &s.steps[i]
		if x.session != "" {
			r.ID = x.session
		}
		if x.path != "" {
			r.Pages = append(r.Pages, x.path)
		}
		r.Steps = append(r.Steps, x.name)
	}
	r.Pages = r.Pages[max(0, len(r.Pages)-maxList):]
	r.Steps = r.Steps[max(0, len(r.Steps)-maxList):]
	return r
}

// changes is what happened after the last request before this one.
func (s *state) changes(request *shown) *Since {
	i := len(s.steps) - 1
	for ; i >= 0; i-- {
		if x := &s.steps[i]; x.request && (request == nil || x.compare(request.place) < 0) {
			break
		}
	}
	if i < 0 {
		return nil
	}
	before := &s.steps[i]
	r := &Since{
		Event: before.name, Timestamp: stamp(before.ms), Receipt: before.receipt(), Seconds: float64(s.now-before.ms) / 1000,
		Events: map[string]uint64{}, Traits: map[string]Change{},
	}
	for j := i + 1; j < len(s.steps); j++ {
		if x := &s.steps[j]; request == nil || !x.same(request.place) {
			r.Events[x.name]++
		}
	}
	for k, t := range s.traits {
		is := t.newest()
		was, had := t.value(before.place)
		switch {
		case had && was.value == is.value && was.number == is.number:
		case had:
			r.Traits[k] = Change{From: &Value{was.value, was.number}, To: Value{is.value, is.number}}
		default:
			r.Traits[k] = Change{To: Value{is.value, is.number}}
		}
	}
	return r
}
