package asks

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/millrace/millrace/libs/testkit"
	"github.com/millrace/millrace/services/query"
	"github.com/millrace/millrace/services/query/users"
)

// TestOutages takes away one part after the other, and gives it back: what can be answered is answered and says what it lacks,
// the rest is refused with the time to come again, and nothing that was acknowledged is missing afterwards.
func TestOutages(t *testing.T) {
	m := newMill(t)
	queries := t.TempDir()
	m.must(os.WriteFile(filepath.Join(queries, "all.sql"), []byte("-- All of them.\nSELECT count() FROM events\n"), 0o600))
	v := &visitor{mill: m, base: m.query("query", func(c *query.Config) { c.Queries = queries })}
	t.Run("ClickHouse", v.withoutClickHouse)
	t.Run("ingester", v.withoutIngester)
	t.Run("enricher", v.withoutEnricher)
	t.Run("NATS", v.withoutNATS)
}

// visitor asks about people and knows how many events of each were acknowledged.
type visitor struct {
	*mill
	base   string
	events map[string]uint64
	n      int
}

func (v *visitor) event(user, name string) string {
	v.n++
	return `{"userId":"` + user + `","event":"` + name + `","messageId":"` + strconv.Itoa(v.n) + `"}`
}

// acknowledged counts an event of a user in.
func (v *visitor) acknowledged(user string) {
	if v.events == nil {
		v.events = map[string]uint64{}
	}
	v.events[user]++
}

func (v *visitor) did(t *testing.T, user, name string) {
	t.Helper()
	v.must(v.post(v.event(user, name)))
	v.acknowledged(user)
}

func (v *visitor) ask(t *testing.T, user string, params url.Values) answer {
	t.Helper()
	a, err := ask(t.Context(), v.base, v.event(user, "help"), params)
	if err != nil {
		t.Fatal(err)
	}
	if a.status == http.StatusOK || a.status == http.StatusGatewayTimeout {
		v.acknowledged(user)
	}
	return a
}

func read(t *testing.T, a answer) *users.Context {
	t.Helper()
	c, err := a.context()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// whole is a complete answer about a user that holds every event; some time after an outage it must be there.
func (v *visitor) whole(t *testing.T, user string) {
	t.Helper()
	testkit.Eventually(t, "all about "+user+" is answered", func() bool {
		a, err := about(t.Context(), v.base, users.User{ID: user}, nil)
		if err != nil || a.status != http.StatusOK {
			return false
		}
		c := read(t, a)
		if c.Complete && c.Profile.Events != v.events[user] {
			t.Fatalf("%s has %d events, acknowledged were %d: %s", user, c.Profile.Events, v.events[user], a)
		}
		return c.Complete
	})
}

// indexed waits until ClickHouse has so many events of a user.
func (v *visitor) indexed(t *testing.T, user string) {
	t.Helper()
	testkit.Eventually(t, user+" is in ClickHouse", func() bool {
		return v.db.Count("SELECT count() FROM events WHERE user_id = ?", user) == v.events[user]
	})
}

func (v *visitor) lacks(t *testing.T, c *users.Context, what ...string) {
	t.Helper()
	var found []string
	for _, l := range c.Lacks {
		found = append(found, l.What)
		if l.Why == "" {
			t.Errorf("it does not say why: %+v", l)
		}
	}
	slices.Sort(found)
	if c.Complete || !slices.Equal(slices.Compact(found), what) {
		t.Errorf("complete %t, it lacks %+v, want %v", c.Complete, c.Lacks, what)
	}
}

func refused(t *testing.T, what string, a answer, said string) {
	t.Helper()
	if s, err := strconv.Atoi(a.header.Get("Retry-After")); a.status != http.StatusServiceUnavailable || err != nil || s < 1 || !strings.Contains(string(a.text), said) {
		t.Errorf("%s: Retry-After %q, %s; want 503 that says %q", what, a.header.Get("Retry-After"), a, said)
	}
}

// others are the questions that only ClickHouse can answer.
func (v *visitor) others(t *testing.T) map[string]answer {
	t.Helper()
	got := map[string]answer{}
	for _, q := range [][3]string{
		{http.MethodPost, "/v1/sql", "SELECT count() FROM events"},
		{http.MethodGet, "/v1/queries/all", ""},
		{http.MethodGet, "/v1/reports/trend?source=" + shop, ""},
		{http.MethodGet, "/v1/reports/top?by=path&source=" + shop, ""},
	} {
		a, err := call(t.Context(), q[0], v.base+q[1], q[2])
		if err != nil {
			t.Fatal(err)
		}
		got[q[1]] = a
	}
	return got
}

func (v *visitor) withoutClickHouse(t *testing.T) {
	v.did(t, "ada", "old")
	v.did(t, "bob", "old")
	v.ask(t, "ada", nil)
	v.indexed(t, "ada")
	v.indexed(t, "bob")
	v.whole(t, "ada") // and she is kept
	known := v.events["bob"]
	if err := v.db.Kill(); err != nil {
		t.Fatal(err)
	}
	v.did(t, "ada", "new")
	if c := read(t, v.ask(t, "ada", nil)); !c.Complete || c.Profile.Events != v.events["ada"] {
		t.Errorf("who is kept: %+v", c)
	}
	v.did(t, "bob", "new")
	c := read(t, v.ask(t, "bob", nil))
	// He may have been read ahead; then nothing lacks.
	if c.Complete && c.Profile.Events != v.events["bob"] || !c.Complete && c.Profile.Events != v.events["bob"]-known {
		t.Errorf("who is not kept: %+v", c)
	}
	v.did(t, "eve", "new") // who is new: nobody can know that
	c = read(t, v.ask(t, "eve", nil))
	v.lacks(t, c, users.LackHistory)
	if len(c.Recent) != 2 || c.Recent[0].Event != "help" || c.Recent[1].Event != "new" || c.Request == nil || c.Session == nil || c.Session.Events != 2 {
		t.Errorf("from the tail: %+v", c)
	}
	for path, a := range v.others(t) {
		refused(t, path, a, "ClickHouse")
	}
	v.db.Start()
	for _, user := range []string{"ada", "bob", "eve"} {
		v.whole(t, user)
		v.ask(t, user, nil)
		v.whole(t, user)
	}
	testkit.Eventually(t, "everything else is answered again", func() bool {
		for _, a := range v.others(t) {
			if a.status != http.StatusOK {
				return false
			}
		}
		return true
	})
	for _, user := range []string{"ada", "bob", "eve"} {
		v.indexed(t, user)
	}
}

func (v *visitor) withoutIngester(t *testing.T) {
	v.did(t, "ida", "old")
	v.whole(t, "ida")
	v.stop("ingester")
	refused(t, "an ask", v.ask(t, "ida", nil), "not stored")
	v.whole(t, "ida")
	v.must(v.publish(v.event("ida", "waiting"))) // the door of NATS takes it all the same
	v.acknowledged("ida")
	a, err := about(t.Context(), v.base, users.User{ID: "ida"}, nil)
	v.must(err)
	v.lacks(t, read(t, a), users.LackDoor)
	v.start("ingester")
	v.whole(t, "ida")
	if c := read(t, v.ask(t, "ida", nil)); c.Profile.Events != v.events["ida"] {
		t.Errorf("after its return: %+v", c)
	}
}

func (v *visitor) withoutEnricher(t *testing.T) {
	v.did(t, "eno", "old")
	v.whole(t, "eno")
	v.stop("enricher")
	a := v.ask(t, "eno", url.Values{"timeout": {"300ms"}})
	if a.status != http.StatusGatewayTimeout || !strings.Contains(string(a.text), "not_yet") || !strings.Contains(string(a.text), `"want"`) {
		t.Errorf("an ask: %s", a)
	}
	a, err := about(t.Context(), v.base, users.User{ID: "eno"}, nil)
	v.must(err)
	c := read(t, a)
	v.lacks(t, c, users.LackTail)
	if c.Profile.Events != v.events["eno"]-1 {
		t.Errorf("what is known: %+v", c)
	}
	v.start("enricher")
	v.whole(t, "eno")
}

func (v *visitor) withoutNATS(t *testing.T) {
	v.did(t, "nan", "old")
	v.whole(t, "nan")
	v.nats.Stop()
	testkit.Eventually(t, "the connection is lost", func() bool {
		a := v.ask(t, "nan", nil)
		return a.status == http.StatusServiceUnavailable
	})
	refused(t, "an ask", v.ask(t, "nan", nil), "not stored")
	v.nats.Start()
	v.whole(t, "nan")
	testkit.Eventually(t, "asks are answered again", func() bool {
		a := v.ask(t, "nan", nil)
		return a.status == http.StatusOK && read(t, a).Profile.Events == v.events["nan"]
	})
	v.whole(t, "nan")
}
