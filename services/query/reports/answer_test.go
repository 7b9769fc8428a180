package reports

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"
)

// An answer from the cache tells its age, is shared only by askers who see the same, and never comes before a receipt.
func TestCache(t *testing.T) {
	r := newRig(t)
	first := r.ask("trend", url.Values{"max_age": {"10s"}})
	if first.Age != 0 || r.asked != 1 {
		t.Fatalf("the first answer is %v s old, ClickHouse was asked %d times", first.Age, r.asked)
	}
	r.now = r.now.Add(4 * time.Second)
	if a := r.ask("trend", url.Values{"max_age": {"4s"}}); a.Age != 4 || r.asked != 1 || !a.AsOf.Equal(first.AsOf) {
		t.Errorf("age %v, as of %s, asked %d times", a.Age, a.AsOf, r.asked)
	}
	for i, values := range []url.Values{
		{"max_age": {"3s"}},
		{},
		{"max_age": {"1h"}, "last": {"7d"}},
		{"max_age": {"1h"}, "after": {"0:1"}},
	} {
		if a := r.ask("trend", values); a.Age != 0 || r.asked != 2+i {
			t.Errorf("%v: age %v, asked %d times", values, a.Age, r.asked)
		}
	}
	if _, err := r.reports.Answer(t.Context(), Asker{DB: r, Sources: []string{"shop"}}, "trend", url.Values{"max_age": {"1h"}}); err != nil || r.asked != 6 {
		t.Errorf("%v, asked %d times", err, r.asked)
	}
	// Who takes no older answer keeps none either.
	r.ask("trend", url.Values{"last": {"3d"}})
	if a := r.ask("trend", url.Values{"last": {"3d"}, "max_age": {"1h"}}); a.Age != 0 || r.asked != 8 {
		t.Errorf("age %v, asked %d times", a.Age, r.asked)
	}
	// The answer is another's, the question this asker's.
	a := r.ask("trend", url.Values{"last": {"7d"}, "max_age": {"20m"}, "timeout": {"3s"}})
	if got := fmt.Sprintf("%v %v %v %v", a.Age > 0, a.Question["max_age"], a.Question["timeout"], a.Question["after"]); got != "true 20m 3s <nil>" || r.asked != 8 {
		t.Errorf("the question was %s, asked %d times", got, r.asked)
	}
	if got := strings.Join(r.awaited, "|"); !strings.Contains(got, "0:1") {
		t.Errorf("awaited were %s", got)
	}
}

func TestCacheIsBounded(t *testing.T) {
	c := newCache()
	now := time.Now()
	for i := range 3 * maxCached {
		c.put(fmt.Sprint(i), &Answer{Result: make([]byte, 100<<10), AsOf: now})
	}
	if c.bytes > maxCachedBytes || len(c.byKey) != c.order.Len() || c.get("0", time.Hour, now) != nil || c.get(fmt.Sprint(3*maxCached-1), time.Hour, now) == nil {
		t.Errorf("%d bytes in %d entries", c.bytes, c.order.Len())
	}
}

func TestAnswerSaysWhatItIs(t *testing.T) {
	r := newRig(t)
	a := r.ask("trend", url.Values{"sample": {"0.25"}, "last": {"2d"}, "event": {"A"}, "compare": {"1"}})
	if a.Sample != 0.25 || a.Watermark != "0:7" || !a.AsOf.Equal(r.now) || a.Statistics.Statements != 3 || a.Previous == nil {
		t.Errorf("%+v", a)
	}
	if got := fmt.Sprint(a.Question["interval"], a.Question["measure"], a.Question["event"], a.Question["zone"]); got != "hourcount[A]UTC" {
		t.Errorf("understood was %s", got)
	}
}

// An answer that is large is not kept: it would push out all others.
func TestCacheKeepsSmallAnswers(t *testing.T) {
	c := newCache()
	now := time.Now()
	for i := range 10 {
		c.put(fmt.Sprint(i), &Answer{Result: make([]byte, 1000), AsOf: now})
	}
	c.put("large", &Answer{Result: make([]byte, maxCachedBytes-2000), AsOf: now})
	c.put("both", &Answer{Result: make([]byte, maxEntryBytes/2), Previous: &Previous{Result: make([]byte, maxEntryBytes/2)}, AsOf: now})
	if c.order.Len() != 10 || c.get("0", time.Hour, now) == nil {
		t.Errorf("%d answers are kept", c.order.Len())
	}
}

// A source without any event looks like one for which nothing happened, so it is said.
func TestNotes(t *testing.T) {
	r := newRig(t)
	r.store([]happening{{source: "web", typ: "track", event: "A", user: "u", at: r.now.AddDate(0, -5, 0)}})
	for _, tc := range []struct{ query, notes string }{
		{"", "[]"},
		{"source=web", "[]"}, // its events are older than the period
		{"source=web&source=wbe", `[there are no events of the source "wbe", of any time: is that its name?]`},
		{"source=it's", `[there are no events of the source "it's", of any time: is that its name?]`},
	} {
		if _, a := answerOf[Trend](r, "trend", tc.query); fmt.Sprint(a.Notes) != tc.notes {
			t.Errorf("%q: notes %q, want %q", tc.query, a.Notes, tc.notes)
		}
	}
	asked := r.asked
	if answerOf[Trend](r, "trend", "source=web"); r.asked != asked+1 {
		t.Errorf("a source that is known is looked up: %d statements", r.asked-asked)
	}
	r.store([]happening{{source: "wbe", typ: "track", event: "A", user: "u", at: r.now, idx: 1}})
	if _, a := answerOf[Trend](r, "trend", "source=wbe"); a.Notes != nil {
		t.Errorf("now there is one: %q", a.Notes)
	}
}

// So does a name that no event has. It is looked for only where the answer has nothing of it.
func TestNotesOfNames(t *testing.T) {
	r := newRig(t)
	r.store([]happening{
		{source: "web", typ: "track", event: "Viewed", user: "u", at: r.now.Add(-time.Hour)},
		{source: "web", typ: "track", event: "Old", user: "u", at: r.now.AddDate(0, -5, 0), idx: 1},
		{source: "web", typ: "identify", user: "u", at: r.now.AddDate(0, -5, 0), idx: 2},
		{source: "app", typ: "track", event: "Tapped", user: "u", at: r.now, idx: 3},
	})
	no := func(name, where string) string {
		return fmt.Sprintf("there are no events named %q%s, of any time: is that the name?", name, where)
	}
	for _, tc := range []struct {
		report, query string
		asked         int // statements behind those of the report
		notes         []string
	}{
		{"trend", "event=Viewed", 0, nil},
		{"trend", "event=Veiwed", 1, []string{no("Veiwed", "")}},
		{"trend", "event=Old", 1, nil},
		{"trend", "event=Old", 0, nil}, // it stays known
		{"trend", "event=identify", 1, nil},
		{"trend", "event=it's", 1, []string{no("it's", "")}},
		{"trend", "event=Veiwed&event=Viewed", 0, nil},
		{"trend", "event=Tapped&source=web", 2, []string{no("Tapped", " in the source web")}},
		{"trend", "event=Veiwed&source=wbe", 1, []string{`there are no events of the source "wbe", of any time: is that its name?`}},
		{"top", "event=Veiwed", 1, []string{no("Veiwed", "")}},
		{"top", "event=Veiwed&measure=sum&property=x", 1, []string{no("Veiwed", "")}},
		{"funnel", "step=Viewed&step=Bougth", 1, []string{no("Bougth", "")}},
		{"retention", "start=Veiwed", 1, []string{no("Veiwed", "")}},
		{"retention", "start=Viewed&return=Bougth", 1, []string{no("Bougth", "")}},
		{"paths", "start=Veiwed", 1, []string{no("Veiwed", "")}},
		{"sessions", "event=Veiwed", 1, []string{no("Veiwed", "")}},
		{"stickiness", "event=Veiwed", 1, []string{no("Veiwed", "")}},
		{"revenue", "", 1, []string{no("Order Completed", "")}},
		{"timeline", "user=u&event=Veiwed", 1, []string{no("Veiwed", "")}},
	} {
		asked := r.asked
		values, err := url.ParseQuery(tc.query)
		if err != nil {
			t.Fatal(err)
		}
		if a := r.ask(tc.report, values); fmt.Sprint(a.Notes) != fmt.Sprint(tc.notes) || r.asked != asked+1+tc.asked {
			t.Errorf("%s?%s: notes %q, %d statements", tc.report, tc.query, a.Notes, r.asked-asked)
		}
	}
	// What one key sees is not told to another.
	for sees, want := range map[string]int{"web": 0, "app": 1} {
		a, err := r.reports.Answer(t.Context(), Asker{DB: r, Sources: []string{sees}}, "trend", url.Values{"event": {"Old"}})
		if err != nil || len(a.Notes) != want {
			t.Errorf("%s: %q, %v", sees, a.Notes, err)
		}
	}
}

// The key of the table prunes: of many days, a report over one reads that one, of many sources its own.
func TestReportsReadWhatTheyAskFor(t *testing.T) {
	r := newRig(t)
	const days, perDay = 40, 5000
	for _, source := range []string{"web", "app"} {
		var events []happening
		for d := range days {
			for i := range perDay {
				events = append(events, happening{
					source: source, typ: "track", event: []string{"A", "B"}[i%2], user: fmt.Sprint("u", i%50),
					at: r.now.AddDate(0, 0, -d).Add(-time.Duration(i) * time.Second), idx: uint32(d*perDay + i),
				})
			}
		}
		r.store(events)
	}
	r.db.Exec("OPTIMIZE TABLE millrace.events FINAL")
	// Now the source is known, and that there is B, which nobody does who did A.
	r.ask("funnel", url.Values{"source": {"web"}, "last": {"1d"}, "step": {"A", "B"}})
	for name, more := range map[string]string{
		"trend": "&by=browser", "top": "", "funnel": "&step=A&step=B", "retention": "", "paths": "", "sessions": "", "stickiness": "", "revenue": "&event=A",
		"timeline": "&user=u1",
	} {
		values, err := url.ParseQuery("source=web&from=2026-11-10&to=2026-11-11" + more)
		if err != nil {
			t.Fatal(err)
		}
		a := r.ask(name, values)
		// A granule has 8,192 rows; a day has 5,000, and some of the one before may be needed.
		if most := uint64(4 * 8192); a.Statistics.Rows > most || a.Statistics.Rows == 0 {
			t.Errorf("%s reads %d rows of %d, want at most %d", name, a.Statistics.Rows, 2*days*perDay, most)
		}
	}
}

func TestTimelineReadsOn(t *testing.T) {
	r := newRig(t)
	var events []happening
	for i := range 25 {
		events = append(events, happening{
			source: "web", typ: "track", event: fmt.Sprint("e", i), user: "ada", at: r.now.Add(-time.Duration(i/5) * time.Millisecond),
			shard: uint16(i % 2), seq: uint64(i % 3), idx: uint32(i),
		})
	}
	r.store(events)
	seen := map[string]bool{}
	before := ""
	for page := range 4 {
		result, _ := answerOf[Timeline](r, "timeline", "user=ada&limit=10&before="+url.QueryEscape(before))
		for _, e := range result.Events {
			if seen[e.Name] {
				t.Errorf("%s comes twice", e.Name)
			}
			seen[e.Name] = true
		}
		if before = result.Before; before == "" {
			if page != 2 {
				t.Errorf("it ended with page %d", page)
			}
			break
		}
	}
	if len(seen) != 25 {
		t.Errorf("%d events", len(seen))
	}
}
