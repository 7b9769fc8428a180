package users

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/testkit"
)

// mine is the plain rule: all rows that are a user's, in order.
func (r *rig) mine(id string) (rows []stored, anonymous []string) {
	r.mu.Lock()
	all := slices.Clone(r.rows)
	r.mu.Unlock()
	people, devices := map[string]bool{id: true}, map[string]bool{}
	for grown := true; grown; {
		n := len(people) + len(devices)
		for _, x := range all {
			if x.Source != shop || !people[x.UserID] || x.UserID == "" {
				continue
			}
			if x.Type == "identify" && x.AnonymousID != "" {
				devices[x.AnonymousID] = true
			}
			if x.Type == "alias" && x.PreviousID != "" {
				people[x.PreviousID], devices[x.PreviousID] = true, true
			}
		}
		grown = len(people)+len(devices) > n
	}
	for _, x := range all {
		if x.Source == shop && (x.UserID != "" && people[x.UserID] || x.UserID == "" && devices[x.AnonymousID]) {
			rows = append(rows, x)
		}
	}
	slices.SortFunc(rows, func(a, b stored) int { return a.compare(b.place) })
	return rows, slices.Sorted(maps.Keys(devices))
}

func nameOf(x stored) string {
	if x.Event == "" {
		return x.Type
	}
	return x.Event
}

func millis(t *testing.T, text string) int64 {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at.UnixMilli()
}

// check compares an answer with a plain walk over everything that was published.
func (r *rig) check(a *Context) {
	r.Helper()
	rows, devices := r.mine(a.User)
	now := millis(r.T, a.AsOf)
	want := Context{
		User: a.User, Source: shop, Receipt: a.Receipt, Covers: a.Covers, AsOf: a.AsOf, Complete: true,
		IDs:     IDs{Users: a.IDs.Users, Anonymous: append([]string{}, devices...)},
		Profile: Profile{Traits: map[string]Value{}, Events: uint64(len(rows)), Counts: Counts{Day: map[string]uint64{}, Week: map[string]uint64{}}},
		Recent:  []Event{},
	}
	slices.Sort(a.IDs.Anonymous)
	from, request := len(rows)-1, -1
	for i, x := range rows {
		if x.ms > now-day.Milliseconds() {
			want.Profile.Counts.Day[nameOf(x)]++
		}
		if x.ms > now-week.Milliseconds() {
			want.Profile.Counts.Week[nameOf(x)]++
		}
		if x.Type == "identify" {
			for k, v := range x.Traits {
				_, number := x.TraitsNum[k]
				want.Profile.Traits[k] = Value{v, number}
			}
		}
		if _, ok := x.Extra[requestMark]; ok {
			request = i
		}
	}
	if n := len(rows); n > 0 {
		want.Profile.FirstSeen, want.Profile.LastSeen = stamp(rows[0].ms), stamp(rows[n-1].ms)
		for i := n - 1; i >= 0 && i >= n-defaultRecent; i-- {
			x := rows[i]
			e := Event{Event: nameOf(x), Type: x.Type, EventID: x.EventID, Timestamp: stamp(x.ms), Receipt: x.receipt(), Properties: map[string]Value{}}
			for k, v := range x.Properties {
				_, number := x.PropertiesNum[k]
				e.Properties[k] = Value{v, number}
			}
			want.Recent = append(want.Recent, e)
		}
		for from > 0 && rows[from].ms-rows[from-1].ms <= silence.Milliseconds() {
			from--
		}
		if now-rows[n-1].ms <= silence.Milliseconds() {
			s := &Session{
				ID: fmt.Sprintf("%d:%d:%d", rows[from].shard, rows[from].seq, rows[from].idx), StartedAt: stamp(rows[from].ms), LastAt: stamp(rows[n-1].ms),
				Events: n - from, Pages: []string{}, Steps: []string{},
			}
			for _, x := range rows[from:] {
				if x.SessionID != "" {
					s.ID = x.SessionID
				}
				if x.Type == "page" {
					s.Pages = append(s.Pages, x.Path)
				}
				s.Steps = append(s.Steps, nameOf(x))
			}
			s.Pages, s.Steps = s.Pages[max(0, len(s.Pages)-maxList):], s.Steps[max(0, len(s.Steps)-maxList):]
			want.Session = s
		}
	}
	if request >= 0 && rows[request].ms > now-23*time.Hour.Milliseconds() {
		want.Since = r.since(rows, request, now)
	} else if a.Since != nil && (request < 0 || rows[request].receipt() != a.Since.Receipt) {
		r.Errorf("since %+v, there was no such request", a.Since)
	} else {
		a.Since = nil // a day is not to the second
	}
	if a.Session != nil && a.Session.Partial && rows[from].ms < now-23*time.Hour.Milliseconds() {
		a.Session, want.Session = nil, nil
	}
	if diff := cmp.Diff(&want, a); diff != "" {
		text, _ := json.Marshal(a.Lacks)
		r.Errorf("the context of %s, lacking %s (-plain walk +answer):\n%s", a.User, text, diff)
	}
}

func (r *rig) since(rows []stored, request int, now int64) *Since {
	before := rows[request]
	s := &Since{
		Event: nameOf(before), Timestamp: stamp(before.ms), Receipt: before.receipt(), Seconds: float64(now-before.ms) / 1000,
		Events: map[string]uint64{}, Traits: map[string]Change{},
	}
	was, is := map[string]Value{}, map[string]Value{}
	for i, x := range rows {
		if i > request {
			s.Events[nameOf(x)]++
		}
		if x.Type != "identify" {
			continue
		}
		for k, v := range x.Traits {
			_, number := x.TraitsNum[k]
			is[k] = Value{v, number}
			if i <= request {
				was[k] = is[k]
			}
		}
	}
	for k, v := range is {
		if old, had := was[k]; !had {
			s.Traits[k] = Change{To: v}
		} else if old != v {
			s.Traits[k] = Change{From: &old, To: v}
		}
	}
	return s
}

// someone makes events of a few people and devices, of all times.
type someone struct {
	*rand.Rand
	n int
}

// ids that are awkward in SQL, in URLs and in JSON.
var people = []string{"ada", "bob's", `c\d`, "é\t☂", "x,y']", "user with spaces", "100%"}

func (s *someone) row(now time.Time) testkit.Row {
	s.n++
	pick := func(list ...string) string { return list[s.IntN(len(list))] }
	device := "device " + strconv.Itoa(s.IntN(12))
	x := testkit.Row{
		Source: shop, EventID: "e-" + strconv.Itoa(s.n), Type: "track", Event: pick("viewed", "ordered", "asked", ""),
		Properties: map[string]string{"n": strconv.Itoa(s.n), "q": `a "quote" \ and	tab`}, PropertiesNum: map[string]float64{"n": float64(s.n)},
	}
	ago := []time.Duration{time.Minute, 20 * time.Minute, 3 * time.Hour, 24 * time.Hour, 25 * time.Hour, 8 * 24 * time.Hour, 60 * 24 * time.Hour}[s.IntN(7)]
	x.Timestamp = now.Add(-time.Duration(s.Int64N(int64(ago)))).Truncate(time.Millisecond)
	switch s.IntN(12) {
	case 0, 1, 2:
		x.AnonymousID = device
	case 3, 4, 5:
		x.Type, x.Event, x.Path, x.UserID = "page", "", pick("/", "/cart", "/pay"), pick(people...)
	case 6:
		x.Type, x.Event, x.UserID, x.AnonymousID = "identify", "", pick(people...), device
		x.Traits = map[string]string{"plan": pick("free", "pro"), "age": strconv.Itoa(20 + s.IntN(5))}
		x.TraitsNum = map[string]float64{"age": 1}
	case 7:
		if s.IntN(4) == 0 {
			x.Type, x.Event, x.UserID, x.PreviousID = "alias", "", pick(people...), pick(device, people[s.IntN(len(people))])
		} else {
			x.UserID, x.SessionID = pick(people...), "s-"+strconv.Itoa(s.n)
		}
	case 8:
		x.UserID, x.Extra = pick(people...), map[string]string{requestMark: "true"}
	case 9:
		x.Source, x.UserID = "other", pick(people...)
	default:
		x.UserID, x.AnonymousID = pick(people...), device
	}
	return x
}

// TestContextEqualsAPlainWalk asks while frames come, are inserted and are proven, in every mixture, and compares every
// answer with a plain walk over all rows.
func TestContextEqualsAPlainWalk(t *testing.T) {
	const shards = 3
	r := newRig(t, shards, 0)
	s := &someone{Rand: rand.New(rand.NewPCG(1, 7))}
	var all bus.Receipt
	for round := range 30 {
		var rows []testkit.Row
		for range 1 + s.IntN(25) {
			rows = append(rows, s.row(time.Now()))
		}
		for _, p := range r.publish(rows...).Places {
			all.Add(p)
		}
		shard := s.IntN(shards)
		switch s.IntN(4) {
		case 0:
			r.index(shard, r.last[shard]) // in ClickHouse, and nobody has said so
		case 1:
			r.prove(shard, r.proven[shard].Load()+uint64(s.IntN(4)))
		case 2:
			r.prove(shard, r.last[shard])
		}
		if round == 30 {
			r.serve(0)
		}
		for range 3 {
			r.check(r.about(people[s.IntN(len(people))], all))
		}
	}
	r.proveAll()
	for _, id := range append([]string{"nobody"}, people...) {
		r.check(r.about(id, all))
	}
	r.serve(0) // and all of it from ClickHouse
	for _, id := range append([]string{"nobody"}, people...) {
		r.check(r.about(id, all))
	}
}

// TestTheWatermarkMovesWhileAsking moves the watermark all the time while users are read anew again and again. Every answer
// must hold every event once: their number is their sum.
func TestTheWatermarkMovesWhileAsking(t *testing.T) {
	const shards = 2
	r := newRig(t, shards, 0)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(stop)
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				r.proveAll()
			}
		}
	})
	for i := range 30 {
		receipt := r.publish(
			testkit.Row{Type: "track", Event: "step", UserID: "ada", EventID: fmt.Sprint("a", i), Timestamp: time.Now()},
			testkit.Row{Type: "track", Event: "step", AnonymousID: "tablet", EventID: fmt.Sprint("t", i), Timestamp: time.Now()},
			testkit.Row{Type: "identify", UserID: "ada", AnonymousID: "tablet", EventID: fmt.Sprint("i", i), Timestamp: time.Now()},
		)
		(*hook)(r.users).Gap(0) // nothing is kept
		a := r.about("ada", receipt)
		if want := uint64(3 * (i + 1)); a.Profile.Events != want || a.Profile.Counts.Day["step"] != uint64(2*(i+1)) || !a.Complete {
			t.Fatalf("round %d: %d events, want %d: %+v, lacks %+v", i, a.Profile.Events, want, a.Profile.Counts, a.Lacks)
		}
		if a.Recent[0].EventID[1:] != fmt.Sprint(i) {
			t.Fatalf("round %d: the newest event is %s", i, a.Recent[0].EventID)
		}
	}
}
