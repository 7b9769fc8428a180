package users

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/testkit"
	"github.com/millrace/millrace/services/query/problem"
	"github.com/millrace/millrace/services/query/tail"
)

func (r *rig) forget() { (*hook)(r.users).Gap(0) }

// oddIDs are such that somebody who wrote SQL, JSON or TSV by hand would get wrong.
var oddIDs = []string{
	"plain", "'", "''", `\`, `\'`, `\\'`, `"`, "\x00", "a\x00b", `\0`, `\N`, "\n", "\r\n", "\t", "\b\f\a\v", "a,b", "['a']", "a'],['b", "{users:Array(String)}",
	"' OR 1=1 --", "{{mine}}", "%27", "é", "☂\U0001F980", "\u202eabc", "\ufeff", "NULL", "1", " ", strings.Repeat("x", 256), strings.Repeat("\x00", 256),
}

// TestOddIDs: an id is its bytes, and the same text as a user id and as an anonymous id are two.
func TestOddIDs(t *testing.T) {
	r := newRig(t, 3, 0)
	var rows []testkit.Row
	for i, id := range oddIDs {
		at := time.Now().Add(-time.Minute)
		rows = append(rows, testkit.Row{Type: "track", Event: "user", EventID: fmt.Sprint("u", i), UserID: id, Timestamp: at})
		for n := range 2 {
			rows = append(rows, testkit.Row{Type: "track", Event: "device", EventID: fmt.Sprint("d", i, n), AnonymousID: id, Timestamp: at})
		}
	}
	all := r.publish(rows...)
	for _, proven := range []bool{false, true} {
		if proven {
			r.proveAll()
			r.forget()
		}
		for _, id := range oddIDs {
			if a := r.about(id, all); a.Profile.Events != 1 || a.Recent[0].Event != "user" || !a.Complete || a.User != id {
				t.Errorf("proven %t, user %q: %+v", proven, id, a)
			}
			a, err := r.users.Context(t.Context(), User{Source: shop, ID: id, Anonymous: true}, Options{After: all})
			if err != nil || a.Profile.Events != 2 || a.Recent[0].Event != "device" || !a.Complete {
				t.Errorf("proven %t, device %q: %+v, %v", proven, id, a, err)
			}
		}
	}
}

// TestManyIDs: a user of as many ids as may be joined is answered whole, whatever these are; of one with more, it is said.
func TestManyIDs(t *testing.T) {
	r := newRig(t, 1, 0)
	long := func(i int) string { return fmt.Sprint(i) + strings.Repeat("\x00☂'", 50) }
	join := func(from, to int) (rows []testkit.Row) {
		for i := from; i < to; i++ {
			rows = append(rows,
				testkit.Row{Type: "identify", UserID: "ada", AnonymousID: long(i), EventID: fmt.Sprint("i", i), Timestamp: time.Now()},
				testkit.Row{Type: "track", Event: "seen", AnonymousID: long(i), EventID: fmt.Sprint("s", i), Timestamp: time.Now()})
		}
		return rows
	}
	all := r.publish(join(0, maxIDs-1)...)
	for _, proven := range []bool{false, true} {
		if proven {
			r.proveAll()
			r.forget()
		}
		if a := r.about("ada", all); !a.Complete || a.Profile.Events != 2*(maxIDs-1) || len(a.IDs.Anonymous) != maxIDs-1 {
			t.Errorf("proven %t: %d events of %d ids; lacks %+v", proven, a.Profile.Events, len(a.IDs.Anonymous), a.Lacks)
		}
	}
	all = r.publish(join(maxIDs, maxIDs+50)...)
	a := r.about("ada", all)
	if a.Complete || len(a.IDs.Users)+len(a.IDs.Anonymous) != maxIDs || a.Lacks[0].What != LackIDs {
		t.Errorf("%d ids, lacks %+v", len(a.IDs.Anonymous), a.Lacks)
	}
}

// TestAliasesInACircle end, and make one user of all.
func TestAliasesInACircle(t *testing.T) {
	r := newRig(t, 4, 0)
	const people = 6
	var rows []testkit.Row
	name := func(i int) string { return fmt.Sprint("u", i%people) }
	for i := range people {
		rows = append(rows,
			testkit.Row{Type: "alias", UserID: name(i), PreviousID: name(i + 1), EventID: fmt.Sprint("a", i), Timestamp: time.Now()},
			testkit.Row{Type: "track", Event: "seen", UserID: name(i), EventID: fmt.Sprint("s", i), Timestamp: time.Now()})
	}
	all := r.publish(rows...)
	for _, proven := range []bool{false, true} {
		if proven {
			r.proveAll()
			r.forget()
		}
		for i := range people {
			if a := r.about(name(i), all); !a.Complete || a.Profile.Events != 2*people || len(a.IDs.Users) != people {
				t.Errorf("proven %t: %+v", proven, a)
			}
		}
	}
}

// TestVeryActive: a user with 100,000 events of 3,000 names is answered with exact numbers, within the limits, which say so.
func TestVeryActive(t *testing.T) {
	const events, names, each = 100_000, 3000, 10_000
	r := newRig(t, 1, 0)
	begin := time.Now().Add(-events * time.Second / 10) // less than three hours
	for from := 0; from < events; from += each {
		rows := make([]testkit.Row, each)
		for i := range rows {
			n := from + i
			rows[i] = testkit.Row{
				Type: "track", Event: fmt.Sprint("name ", n%names), EventID: fmt.Sprint(n), UserID: "bot", Timestamp: begin.Add(time.Duration(n) * time.Second / 10),
			}
		}
		r.publish(rows...)
	}
	r.proveAll()
	at := r.publish(did("bot", "new", 1))
	a := r.about("bot", at)
	if a.Profile.Events != events+1 || a.Complete || len(a.Lacks) != 1 || a.Lacks[0].What != LackNames {
		t.Errorf("%d events, lacks %+v", a.Profile.Events, a.Lacks)
	}
	if n := len(a.Profile.Counts.Week); n < maxNames || n > maxNames+2 || a.Profile.Counts.Day["new"] != 1 {
		t.Errorf("%d names, %d new", n, a.Profile.Counts.Day["new"])
	}
	for name, n := range a.Profile.Counts.Day {
		if name != "new" && n != events/names && n != events/names+1 {
			t.Errorf("%s: %d times", name, n)
		}
	}
	if a.Recent[0].Event != "new" || a.Recent[1].EventID != fmt.Sprint(events-1) || len(a.Recent) != defaultRecent {
		t.Errorf("recent: %+v", a.Recent)
	}
	if s := a.Session; s == nil || !s.Partial || s.Events < maxSteps-1 || s.Events > maxSteps+1 || len(s.Steps) != maxList {
		t.Errorf("session: %+v", s)
	}
}

// TestWrongClocks: events of the future and of long ago are counted, and neither is the current session.
func TestWrongClocks(t *testing.T) {
	r := newRig(t, 1, 0)
	late := time.Date(2299, 12, 31, 23, 59, 59, 999e6, time.UTC)
	early := time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)
	all := r.publish(
		testkit.Row{Type: "track", Event: "late", UserID: "ada", EventID: "1", Timestamp: late},
		testkit.Row{Type: "track", Event: "early", UserID: "ada", EventID: "2", Timestamp: early},
		testkit.Row{Type: "track", Event: "fast", UserID: "ada", EventID: "3", Timestamp: time.Now().Add(3 * time.Minute)},
		testkit.Row{Type: "track", Event: "now", UserID: "ada", EventID: "4", Timestamp: time.Now()})
	for _, proven := range []bool{false, true} {
		if proven {
			r.proveAll()
			r.forget()
		}
		a := r.about("ada", all)
		if a.Profile.FirstSeen != stamp(early.UnixMilli()) || a.Profile.LastSeen != stamp(late.UnixMilli()) || a.Profile.Events != 4 || !a.Complete {
			t.Errorf("proven %t: %+v", proven, a.Profile)
		}
		if a.Session == nil || !slices.Equal(a.Session.Steps, []string{"now", "fast"}) {
			t.Errorf("proven %t: %+v", proven, a.Session)
		}
		if a.Profile.Counts.Day["late"] != 1 || a.Profile.Counts.Week["early"] != 0 {
			t.Errorf("proven %t: %+v", proven, a.Profile.Counts)
		}
	}
}

// TestAnIDOfAnother: an ask whose id was that of another user's event is dropped as a repeat; the answer does not claim to
// hold it.
func TestAnIDOfAnother(t *testing.T) {
	r := newRig(t, 1, 0)
	r.publish(did("bob", "help", 7))
	r.door(func(string) (int, string) {
		p := r.frame(0) // the enricher drops it: a frame without rows
		return http.StatusOK, fmt.Sprintf(`{"accepted":1,"rejected":[],"receipt":"%d:%d"}`, p.Shard, p.Seq)
	})
	a := r.ask(`{"user_id":"ada","event_type":"help","message_id":"help7"}`)
	if a.Complete || a.Request != nil || !a.Repeat || len(a.Lacks) != 1 || a.Lacks[0].What != LackRequest || a.Lacks[0].To != a.Receipt {
		t.Errorf("%+v", a)
	}
	if a := r.about("ada", bus.Receipt{}); !a.Complete {
		t.Errorf("the next answer lacks it too: %+v", a)
	}
}

// TestTheLogGoesBack: a RAW or an ENRICHED that gives its numbers again is named; nothing is answered from the old ones as if
// they were the new.
func TestTheLogGoesBack(t *testing.T) {
	r := newRig(t, 1, 0)
	r.door(func(string) (int, string) { return http.StatusOK, `{"accepted":1,"rejected":[],"receipt":"0:1"}` })
	var at bus.Receipt
	for i := range 3 {
		at = r.publish(did("ada", "old", i))
	}
	r.about("ada", at)
	again := func(name string) {
		t.Helper()
		s, err := r.js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		cfg := s.CachedInfo().Config
		if err := r.js.DeleteStream(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		if _, err := r.js.CreateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	again(r.inst.Names.StreamRaw(0))
	a, err := r.users.About(t.Context(), User{Source: shop, ID: "ada"}, Options{})
	if err != nil || a.Complete || a.Lacks[0].What != LackTail || !strings.Contains(a.Lacks[0].Why, tail.ErrWentBack.Error()) {
		t.Errorf("%+v, %v", a, err)
	}
	_, err = r.users.Ask(t.Context(), Request{Source: shop, Body: []byte(`{"user_id":"ada","event_type":"help"}`)})
	var p *problem.Problem
	if !errors.As(err, &p) || p.Status != http.StatusServiceUnavailable || !strings.Contains(p.Detail, "gone back") {
		t.Errorf("an ask: %v", err)
	}
	again(r.inst.Names.StreamEnriched(0))
	testkit.Eventually(t, "the tail notices", func() bool { return errors.Is(r.tail.Err(), tail.ErrWentBack) })
}

// TestTheDoorOfNATS: what a publisher was told is stored waits in IN while no ingester takes it; it lacks, and it is said.
func TestTheDoorOfNATS(t *testing.T) {
	r := newRig(t, 1, 0)
	if _, err := r.js.Publish(t.Context(), r.inst.Names.In(shop), []byte(`{"userId":"ada","event":"waits"}`)); err != nil {
		t.Fatal(err)
	}
	a, err := r.users.About(t.Context(), User{Source: shop, ID: "ada"}, Options{})
	if err != nil || a.Complete || !slices.ContainsFunc(a.Lacks, func(l Lack) bool { return l.What == LackDoor && l.Why != "" }) {
		t.Errorf("%+v, %v", a, err)
	}
}
