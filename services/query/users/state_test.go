package users

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/services/query/tail"
)

// TestUsedIsWhatIsHeld: however long a user goes on, the cache counts for them what it holds, so that they put nobody out.
func TestUsedIsWhatIsHeld(t *testing.T) {
	c := newCache(defaultMemory, newMetrics(prometheus.NewRegistry()))
	at := time.Now()
	s := newState(User{Source: shop, ID: "hot"}, at.UnixMilli())
	s.ids, s.touched = tail.Who{Source: shop, Users: []string{"hot"}, Anonymous: []string{"phone", "laptop"}}, at
	enter := func(n int, ago time.Duration) {
		now := at.Add(time.Duration(n) * 100 * time.Millisecond)
		e := entry{kind: "track", id: fmt.Sprint(n), properties: []field{{key: "n", value: fmt.Sprint(n)}}}
		e.place = place{ms: now.Add(-ago).UnixMilli(), seq: uint64(n)}
		e.name, e.path, e.session, e.request = fmt.Sprint("name ", n%7), "/a/path", "a session", n%3 == 0
		e.traits = []field{{key: "plan", value: fmt.Sprint("plan ", n)}, {key: fmt.Sprint("trait ", n%5), value: "same"}}
		s.add(&e, now.UnixMilli())
	}
	enter(0, 0) // a row of the tail, before it is kept
	c.keep(s)
	for n := 1; n < 4*maxSteps; n++ {
		c.used -= s.used
		enter(n, 0)
		if n%4 == 0 { // leaves a window soon
			enter(n, day-time.Duration(n)*time.Millisecond)
		}
		c.used += s.used
		if n%1000 == 0 {
			c.answer(s, at.Add(time.Duration(n)*100*time.Millisecond), nil, &Options{}, nil)
		}
		if len(s.steps) > maxSteps+slack {
			t.Fatalf("%d steps are kept", len(s.steps))
		}
	}
	if held := s.size(); s.used != held || c.used != held {
		t.Errorf("%d events: the state claims %d bytes, the cache %d, and %d are held", s.total, s.used, c.used, held)
	}
	if n := len(s.traits["plan"].versions); n > maxSteps+slack+2 {
		t.Errorf("%d versions of a trait are kept", n)
	}
	c.drop(s)
	if c.used != 0 {
		t.Errorf("an empty cache claims %d bytes", c.used)
	}
}

// TestNames: who sends events chooses their names; so many are told apart, and it is said when there are more.
func TestNames(t *testing.T) {
	now := time.Now().UnixMilli()
	s := newState(User{Source: shop, ID: "bot"}, now)
	for n := range maxCounted + 3 {
		if n == maxCounted {
			if a := s.answer(now, nil, &Options{}, nil); !a.Complete || len(a.Profile.Counts.Day) != maxCounted {
				t.Fatalf("%d names are told apart, lacks %+v", len(a.Profile.Counts.Day), a.Lacks)
			}
		}
		e := entry{kind: "track", step: step{place: place{ms: now, seq: uint64(n)}, name: fmt.Sprint("name ", n)}}
		s.add(&e, now)
	}
	again := entry{kind: "track", step: step{place: place{ms: now, seq: 1 << 40}, name: "name 0"}}
	s.add(&again, now)
	for range 2 { // and it is not said twice
		a := s.answer(now, nil, &Options{}, nil)
		counts := a.Profile.Counts
		if len(counts.Day) != maxCounted || len(counts.Week) != maxCounted || counts.Day["name 0"] != 2 || counts.Week["name 0"] != 2 {
			t.Errorf("%d and %d names, the first %d times", len(counts.Day), len(counts.Week), counts.Day["name 0"])
		}
		if a.Complete || len(a.Lacks) != 1 || a.Lacks[0].What != LackNames || a.Profile.Events != maxCounted+4 {
			t.Errorf("%d events, lacks %+v", a.Profile.Events, a.Lacks)
		}
	}
}
