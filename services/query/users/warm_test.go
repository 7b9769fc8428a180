package users

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/testkit"
)

// TestAheadEqualsAPlainWalk reads many users in the same statements, whose ids are joined to each other's in every way, and
// compares what is then kept with a plain walk over all rows, also after further events.
func TestAheadEqualsAPlainWalk(t *testing.T) {
	const shards = 3
	r := newRig(t, shards, 0)
	s := &someone{Rand: rand.New(rand.NewPCG(3, 7))}
	var all bus.Receipt
	publish := func(n int) {
		for range n {
			for _, p := range r.publish(s.row(time.Now()), s.row(time.Now()), s.row(time.Now())).Places {
				all.Add(p)
			}
		}
	}
	publish(100)
	r.prove(0, r.last[0])
	r.index(1, r.last[1]) // and nobody has said so
	r.prove(2, r.last[2]/2)
	r.about("ada", all) // the tail has everything
	(*hook)(r.users).Gap(0)
	users := []User{{Source: shop, ID: "nobody"}}
	for _, id := range people {
		users = append(users, User{Source: shop, ID: id})
	}
	if err := r.users.ahead(t.Context(), users); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, user := range users {
			r.users.mu.Lock()
			kept := r.users.cache.states[user]
			r.users.mu.Unlock()
			if kept == nil {
				t.Fatalf("%s was not read ahead", user.ID)
			}
			r.check(r.about(user.ID, all))
		}
		// Nothing that joins further ids: that would be read anew.
		x := testkit.Row{Type: "track", Event: "asked", UserID: people[0], EventID: "late", Timestamp: time.Now().Add(-time.Hour).Truncate(time.Millisecond)}
		for _, p := range r.publish(x).Places {
			all.Add(p)
		}
		r.about("bob's", all)
	}
}

// TestBulkIsNotReadAhead: while much is on its way to ClickHouse nobody is read ahead, and everybody who waits is once it is there,
// also when nothing comes any more.
func TestBulkIsNotReadAhead(t *testing.T) {
	r := newRig(t, 1, 0)
	noise := rand.NewChaCha8([32]byte{5})
	for r.tail.Unproven() <= warmBehind {
		raw := make([]byte, 768<<10)
		_, _ = noise.Read(raw)
		all := r.publish(testkit.Row{
			Type: "track", Event: "imported", UserID: "ada", EventID: fmt.Sprint(r.last), Timestamp: time.Now(),
			Properties: map[string]string{"noise": base64.StdEncoding.EncodeToString(raw)},
		})
		if err := r.tail.Await(t.Context(), all.Places[0]); err != nil {
			t.Fatal(err)
		}
	}
	if some := r.users.nextActive(10); len(some) != 0 {
		t.Errorf("%v are read ahead while %d bytes are on their way", some, r.tail.Unproven())
	}
	r.proveAll()
	if some := r.users.nextActive(10); len(some) != 1 || some[0].ID != "ada" {
		t.Errorf("%v are read ahead with %d bytes on their way, want ada", some, r.tail.Unproven())
	}
}

// TestMoreThanIsKept: an answer that shows more events than are kept reads them, and events that are older than those that are
// kept do not come among them.
func TestMoreThanIsKept(t *testing.T) {
	r := newRig(t, 1, 0)
	now := time.Now().Truncate(time.Millisecond)
	at := func(name string, ago time.Duration) testkit.Row {
		return testkit.Row{Type: "track", Event: name, UserID: "ada", EventID: name, Timestamp: now.Add(-ago)}
	}
	var rows []testkit.Row
	for i := range 60 {
		rows = append(rows, at("old", time.Duration(i+1)*time.Hour))
	}
	r.publish(rows...)
	r.proveAll()
	all := r.publish(at("newest", 0))
	for _, want := range []int{20, 50, 20} {
		if err := r.users.Await(t.Context(), all); err != nil {
			t.Fatal(err)
		}
		a, err := r.users.Context(t.Context(), User{Source: shop, ID: "ada"}, Options{Recent: want, After: all})
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range a.Recent {
			if ms := millis(t, e.Timestamp); ms != now.Add(-time.Duration(i)*time.Hour).UnixMilli() {
				t.Errorf("of %d, event %d is of %s", want, i, e.Timestamp)
			}
		}
		if len(a.Recent) != want {
			t.Errorf("%d events, want %d", len(a.Recent), want)
		}
	}
	(*hook)(r.users).Gap(0)
	r.about("ada", all)
	late := r.publish(at("late", 30*time.Hour+time.Minute))
	if a := r.about("ada", late); a.Profile.Events != 62 || len(a.Recent) != 20 || a.Recent[19].Event != "old" {
		t.Errorf("%d events, the last of those shown is %+v", a.Profile.Events, a.Recent[len(a.Recent)-1])
	}
}
