package asks

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/services/query/users"
)

// sent is one event as it was sent.
type sent struct {
	kind, name, id            string // name of the event, or the kind where it has none
	user, anonymous, previous string
	session, path             string
	ms                        int64
	properties, traits        map[string]users.Value
	request                   bool // it is an ask's
}

// body is what a client sends.
func (s *sent) body() string {
	e := map[string]any{"type": s.kind, "messageId": s.id, "timestamp": stamp(s.ms)}
	text := func(name, value string) {
		if value != "" {
			e[name] = value
		}
	}
	text("userId", s.user)
	text("anonymousId", s.anonymous)
	text("previousId", s.previous)
	text("sessionId", s.session)
	if s.name != s.kind {
		text("event", s.name)
	}
	if s.path != "" {
		e["context"] = map[string]any{"page": map[string]any{"path": s.path}}
	}
	if len(s.properties) > 0 {
		e["properties"] = s.properties
	}
	if len(s.traits) > 0 {
		e["traits"] = s.traits
	}
	b, err := json.Marshal(e)
	if err != nil {
		panic(err) // texts and numbers
	}
	return string(b)
}

func stamp(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }

// person is somebody with ids of their own, and all that was sent of them.
type person struct {
	*rand.Rand
	name    string // in the ids of events
	users   []string
	devices []string
	history []*sent
	taken   map[int64]bool // milliseconds: no two events of one time, which would be ordered by their places
	n       int
}

// Endings that make an id awkward in SQL, JSON, URLs and logs.
var endings = []string{
	"", "'", `\`, `"`, "\x00", "\n\t\r", " é☂ \U0001F980", "%00", "']", "' OR 1=1 --", "a,b", "{x:String}", "/../x", "?a=b&c", "\u202e", strings.Repeat("x", 230), `\N`, "\\'",
}

func newPerson(r *rand.Rand, name string) *person {
	ending := endings[r.IntN(len(endings))]
	id := "user " + name + ending
	p := &person{Rand: r, name: name, users: []string{id, "old " + name + ending, "older " + name}, taken: map[int64]bool{}}
	// The first device has the id of the user: as an anonymous one it is another.
	p.devices = []string{id, "phone " + name + ending, "tablet " + name}
	return p
}

// free is a time nobody else has.
func (p *person) free(ms int64) int64 {
	for p.taken[ms] {
		ms++
	}
	p.taken[ms] = true
	return ms
}

// when something happened: mostly just now, or before, or at the border of a window; a few clocks are wrong. Requests are never
// about a day old: how far back the last one is looked for is not exact.
func (p *person) when(request bool) int64 {
	ago := func(d time.Duration) int64 { return p.free(time.Now().Add(-d).UnixMilli()) }
	within := func(d time.Duration) time.Duration { return time.Duration(p.Int64N(int64(d))) }
	switch n := p.IntN(100); {
	case n < 80:
		return ago(0)
	case n < 84:
		return ago(within(20 * time.Hour))
	case n < 88:
		return ago(7*24*time.Hour + 5*time.Second - within(10*time.Second))
	case n < 92 && !request:
		return ago(24*time.Hour + 5*time.Second - within(10*time.Second))
	case n < 95:
		return ago(26*time.Hour + within(40*24*time.Hour))
	case n < 96:
		return p.free(int64(p.IntN(1_000_000_000))) // January 1970
	case n < 97:
		return ago(-within(time.Minute))
	case n < 98 && !request:
		return p.free(time.Date(2299, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli())
	default:
		return ago(0)
	}
}

func (p *person) one(list []string) string { return list[p.IntN(len(list))] }

// next is what the person does next; it is not sent yet.
func (p *person) next() *sent {
	p.n++
	s := &sent{kind: "track", id: p.name + "." + strconv.Itoa(p.n), ms: p.when(false)}
	s.properties = map[string]users.Value{"n": {Text: strconv.Itoa(p.n), Number: true}, "q": {Text: "a \"quote\"\t☂\\"}}
	s.name = p.one([]string{"viewed", "added", "ordered"})
	if p.IntN(5) == 0 {
		s.session = "session " + strconv.Itoa(p.n)
	}
	main := p.users[0]
	switch p.IntN(12) {
	case 0, 1, 2, 3:
		s.user = main
	case 4, 5, 6:
		s.anonymous = p.one(p.devices)
	case 7:
		s.user, s.anonymous = main, p.one(p.devices)
	case 8:
		s.kind, s.name, s.path, s.user = "page", "page", p.one([]string{"/", "/cart", "/pay"}), main
	case 9:
		s.user = p.one(p.users)
	case 10:
		s.kind, s.name, s.user, s.anonymous, s.properties = "identify", "identify", p.one(p.users), p.one(p.devices), nil
		s.traits = map[string]users.Value{
			"plan": {Text: p.one([]string{"free", "pro"})}, "age": {Text: fmt.Sprintf("%d.50", 20+p.IntN(3)), Number: true},
		}
	case 11: // in a circle, now and then
		s.kind, s.name, s.user, s.previous, s.properties = "alias", "alias", p.one(p.users), p.one(append(p.users, p.devices...)), nil
	}
	return s
}

// question is an ask of the person, as a user or from a device.
func (p *person) question() *sent {
	p.n++
	s := &sent{
		kind: "track", name: "help", id: p.name + ".ask " + strconv.Itoa(p.n), ms: p.when(true), request: true,
		properties: map[string]users.Value{"n": {Text: strconv.Itoa(p.n), Number: true}},
	}
	switch p.IntN(10) {
	case 0:
		s.anonymous = p.one(p.devices)
	case 1:
		s.user = p.one(p.users)
	case 2:
		s.user, s.anonymous = p.users[0], p.one(p.devices)
	default:
		s.user = p.users[0]
	}
	return s
}

// whom a question is about.
func (s *sent) whom() users.User {
	if s.user == "" {
		return users.User{Source: shop, ID: s.anonymous, Anonymous: true}
	}
	return users.User{Source: shop, ID: s.user}
}
