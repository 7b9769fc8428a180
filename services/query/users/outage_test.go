package users

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/testkit"
)

func did(user, event string, i int) testkit.Row {
	return testkit.Row{Source: shop, Type: "track", Event: event, EventID: fmt.Sprint(event, i), UserID: user, Timestamp: time.Now()}
}

// TestClickHouseAway: users who were asked about are answered whole, others from the tail, which says what it lacks; and
// all is well when ClickHouse is back.
func TestClickHouseAway(t *testing.T) {
	r := newRig(t, 1, 0)
	r.door(nil)
	r.publish(did("ada", "old", 0), did("bob", "old", 1))
	r.proveAll()
	if a := r.ask(`{"user_id":"ada","event_type":"help"}`); a.Profile.Events != 2 {
		t.Fatalf("%+v", a)
	}
	if err := r.db.Kill(); err != nil {
		t.Fatal(err)
	}
	if a := r.ask(`{"user_id":"ada","event_type":"help"}`); a.Profile.Events != 3 || !a.Complete {
		t.Errorf("who was asked about: %+v", a)
	}
	a := r.ask(`{"user_id":"bob","event_type":"help"}`)
	if a.Complete || len(a.Lacks) != 1 || a.Lacks[0].What != LackHistory || a.Lacks[0].To != "0:1" || a.Lacks[0].Why == "" {
		t.Errorf("what lacks: %+v", a.Lacks)
	}
	if a.Profile.Events != 1 || len(a.Recent) != 1 || a.Request == nil || a.Recent[0].EventID != a.Request.EventID || a.Session == nil {
		t.Errorf("from the tail: %+v", a)
	}
	r.db.Start()
	if a := r.ask(`{"user_id":"bob","event_type":"help"}`); !a.Complete || a.Profile.Events != 3 || len(a.Lacks) != 0 {
		t.Errorf("after its return: %+v", a)
	}
}

// TestTheTailOverItsBudget: frames that had to be let go are named, and once they are proven nothing lacks.
func TestTheTailOverItsBudget(t *testing.T) {
	r := newRig(t, 1, 256<<10)
	r.door(nil)
	r.publish(did("ada", "first", 0))
	var all bus.Receipt
	for i := range 400 {
		x := did("bob", "step", i)
		x.Properties = map[string]string{"text": strings.Repeat(fmt.Sprint(i, " "), 1000)}
		all = r.publish(x)
	}
	a := r.about("ada", all)
	if a.Complete || len(a.Lacks) != 1 || a.Lacks[0].What != LackTail || a.Lacks[0].From != "0:1" || a.Lacks[0].To == "" || a.Profile.Events != 0 {
		t.Errorf("before it is proven: %+v", a)
	}
	if a := r.ask(`{"user_id":"ada","event_type":"help"}`); a.Complete || a.Request == nil || len(a.Recent) != 1 {
		t.Errorf("an ask: %+v", a)
	}
	r.proveAll()
	if a := r.about("ada", all); !a.Complete || a.Profile.Events != 2 {
		t.Errorf("after it is proven: %+v", a)
	}
	if a := r.about("bob", all); !a.Complete || a.Profile.Events != 400 {
		t.Errorf("after it is proven: %+v", a)
	}
}

// TestNATSAway: what is known already is told, and following goes on afterwards.
func TestNATSAway(t *testing.T) {
	r := newRig(t, 1, 0)
	at := r.publish(did("ada", "old", 0))
	r.about("ada", at)
	r.nats.Stop()
	if a := r.about("ada", at); a.Profile.Events != 1 {
		t.Errorf("%+v", a)
	}
	testkit.Eventually(t, "the tail notices", func() bool { return r.tail.Err() != nil })
	r.nats.Start()
	testkit.Eventually(t, "NATS is back", func() bool {
		_, err := r.js.AccountInfo(t.Context())
		return err == nil
	})
	at = r.publish(did("ada", "new", 1))
	if a := r.about("ada", at); a.Profile.Events != 2 || !a.Complete {
		t.Errorf("%+v", a)
	}
}

// TestReadAhead: who is active is known before anybody asks, and stays known.
func TestReadAhead(t *testing.T) {
	r := newRig(t, 2, 0)
	r.publish(did("ada", "old", 0), did("bob", "old", 0))
	r.proveAll()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.users.Run(ctx) }()
	defer func() { cancel(); <-done }()
	kept := func(id string) bool {
		r.users.mu.Lock()
		defer r.users.mu.Unlock()
		return r.users.cache.states[User{Source: shop, ID: id}] != nil
	}
	testkit.Eventually(t, "both are read ahead", func() bool { return kept("ada") && kept("bob") })
	r.publish(testkit.Row{Type: "identify", UserID: "bob", AnonymousID: "phone", Timestamp: time.Now()}) // one more id to look at
	testkit.Eventually(t, "he is read anew", func() bool {
		r.users.mu.Lock()
		defer r.users.mu.Unlock()
		s := r.users.cache.states[User{Source: shop, ID: "bob"}]
		return s != nil && len(s.ids.Anonymous) == 1
	})
	if err := r.db.Kill(); err != nil {
		t.Fatal(err)
	}
	at := r.publish(did("ada", "new", 1), did("bob", "new", 1))
	for id, want := range map[string]uint64{"ada": 2, "bob": 3} {
		if a := r.about(id, at); !a.Complete || a.Profile.Events != want {
			t.Errorf("%s: %d events, want %d; lacks %v", id, a.Profile.Events, want, a.Lacks)
		}
	}
}

// TestMemory: over the budget the longest untouched go, and what is kept is what is counted.
func TestMemory(t *testing.T) {
	c := newCache(20_000, newMetrics(prometheus.NewRegistry()))
	for i := range 100 {
		u := User{Source: shop, ID: fmt.Sprint(i)}
		s := newState(u, time.Now().UnixMilli())
		s.ids, s.at, s.touched, s.used = u.who(), []uint64{1}, time.Now(), 1000
		c.keep(s)
		if old := c.states[User{Source: shop, ID: "0"}]; old != nil {
			c.touch(old, time.Now())
		}
	}
	if c.used > c.most || len(c.states) < 5 || len(c.states) != len(c.byID) || len(c.states) != c.order.Len() || len(c.states) != len(c.places) {
		t.Errorf("%d bytes, %d states, %d ids, %d in order", c.used, len(c.states), len(c.byID), c.order.Len())
	}
	if c.states[User{Source: shop, ID: "0"}] == nil || c.states[User{Source: shop, ID: "99"}] == nil || c.states[User{Source: shop, ID: "1"}] != nil {
		t.Error("not the longest untouched went")
	}
	for _, s := range c.states {
		c.drop(s)
	}
	if c.used != 0 || len(c.byID) != 0 {
		t.Errorf("%d bytes and %d ids are left of nothing", c.used, len(c.byID))
	}
}

// TestWindowsSlide: what leaves a window is gone from it to the millisecond, although the events are not kept.
func TestWindowsSlide(t *testing.T) {
	const now = int64(1_800_000_000_000)
	s := newState(User{Source: shop, ID: "ada"}, now)
	dayMs, weekMs := day.Milliseconds(), week.Milliseconds()
	for i, ms := range []int64{now - weekMs, now - weekMs + 1, now - dayMs, now - dayMs + 1, now - dayMs + 60_000, now} {
		s.add(&entry{step: step{place: place{ms: ms, seq: uint64(i)}, name: "x"}}, now)
	}
	for after, want := range map[int64][2]uint64{0: {3, 5}, 1: {2, 4}, 59_999: {2, 4}, 60_000: {1, 4}} {
		fresh := *s
		fresh.day, fresh.week = newWindow(dayMs, now), newWindow(weekMs, now)
		for _, x := range s.recent {
			fresh.day.add(x.ms, x.name, now)
			fresh.week.add(x.ms, x.name, now)
		}
		a := fresh.answer(now+after, nil, &Options{}, nil)
		if got := [2]uint64{a.Profile.Counts.Day["x"], a.Profile.Counts.Week["x"]}; got != want {
			t.Errorf("%d ms later: %v, want %v", after, got, want)
		}
	}
	if s.over(now+life.Milliseconds()-1) || !s.over(now+life.Milliseconds()) {
		t.Error("its life is not an hour")
	}
}
