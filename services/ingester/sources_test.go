package ingester

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/libs/bus/sources"
)

// register adds a source and returns its key, once the door knows it.
func (r *rig) register(rec sources.Record) (store *sources.Store, key string) {
	r.t.Helper()
	store, err := sources.Open(r.t.Context(), r.js, r.names)
	if err != nil {
		r.t.Fatal(err)
	}
	key, k := sources.NewKey(time.Now(), "")
	rec.Keys = []sources.Key{k}
	if _, err := store.Add(r.t.Context(), rec); err != nil {
		r.t.Fatal(err)
	}
	eventually(r.t, "the door knows "+rec.Name, func() bool { _, ok := r.in.sources.ByKey(key); return ok })
	return store, key
}

// change changes it, and waits until the door knows.
func (r *rig) change(store *sources.Store, name string, change func(*sources.Record), known func(*sources.Source) bool) {
	r.t.Helper()
	if _, err := store.Change(r.t.Context(), name, func(rec *sources.Record) error { change(rec); return nil }); err != nil {
		r.t.Fatal(err)
	}
	eventually(r.t, "the door knows the change", func() bool { s := r.in.sources.Find(name); return s != nil && known(s) })
}

func TestAllowListAtEveryDoor(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	store, key := r.register(sources.Record{Name: "web", Allow: sources.Allow{Names: []string{"Order Completed"}, Types: []string{"identify"}}})
	order, other := `{"type":"track","event":"Order Completed","userId":"u"}`, `{"type":"track","event":"Else","userId":"u"}`
	body := "[" + order + "," + other + `,{"type":"identify","userId":"u"},{"type":"track","userId":"u"}]`

	a := r.post(body, "X-Write-Key", key).want(t, http.StatusOK)
	if a.Accepted != 2 || len(a.Rejected) != 2 || !strings.HasPrefix(a.Rejected[0].Reason, "not_allowed: ") || !strings.HasPrefix(a.Rejected[1].Reason, "no_event") {
		t.Errorf("over HTTP: %s", a.Body)
	}
	r.publish("web", body)
	eventually(t, "the message is taken", r.inEmpty)
	r.request("web", body, http.StatusOK)
	check := func(reason string, each, all int) {
		t.Helper()
		n := 0
		rows := r.fresh()
		for _, row := range rows {
			if row.Reason == reason {
				n++
			}
			if row.Body == other && row.Reason != "not_allowed" {
				t.Errorf("%s at door %s has reason %q", row.Body, row.Door, row.Reason)
			}
		}
		if n != each || len(rows) != all {
			t.Errorf("%d of %d rows are %s, want %d of %d", n, len(rows), reason, each, all)
		}
	}
	check("not_allowed", 3, 12)
	if n := r.in.m.refused[doorNATS]["not_allowed"]; counterValue(n) != 1 {
		t.Errorf("%v are counted at the NATS door", counterValue(n))
	}

	// Disabled: over HTTP there is no key, over NATS every event is a dead letter, and its neighbours go on.
	r.change(store, "web", func(rec *sources.Record) { rec.Disabled = true }, (*sources.Source).Disabled)
	r.post(order, "X-Write-Key", key).want(t, http.StatusUnauthorized)
	r.publish("web", body)
	r.publish("others", order)
	eventually(t, "the messages are taken", r.inEmpty)
	rows := r.fresh()
	slices.SortFunc(rows, func(a, b rawRow) int { return strings.Compare(a.Source, b.Source) })
	if len(rows) != 5 || rows[0].Source != "others" || rows[0].Reason != "" {
		t.Fatalf("rows %+v", rows)
	}
	for _, row := range rows[1:] {
		if row.Body == order && (row.Reason != "not_allowed" || row.Detail != "the source is disabled") {
			t.Errorf("an event of a disabled source: %+v", row)
		}
		if row.Reason == "" {
			t.Errorf("%s of a disabled source is accepted", row.Body)
		}
	}
}

func TestRatesAtEveryDoor(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	store, key := r.register(sources.Record{Name: "web", Rate: sources.Rate{EventsPerSecond: 2, BurstSeconds: 1}})
	var list []string
	for i := range 8 {
		list = append(list, good("u", i))
	}
	body := "[" + strings.Join(list, ",") + "]"
	r.post(body, "X-Write-Key", key).want(t, http.StatusOK) // a full bucket lets it pass, with a debt of three seconds
	for range 2 {                                           // before the body is read, and after it
		a := r.post(good("u", 1), "X-Write-Key", key).want(t, http.StatusTooManyRequests)
		if a.Problem.Code != "rate_limited" || !slices.Contains([]string{"3", "4"}, a.Header.Get("Retry-After")) {
			t.Errorf("%s, Retry-After %s", a.Body, a.Header.Get("Retry-After"))
		}
	}
	r.post(good("u", 1)).want(t, http.StatusOK) // another source
	if n := len(r.fresh()); n != 9 {
		t.Errorf("%d rows", n)
	}
	if n := counterValue(r.in.m.turnedAway["rate_limited"]); n != 2 {
		t.Errorf("%v are counted", n)
	}

	// A message over the rate comes again, and nothing is lost; those of others go on.
	r.publish("web", good("u", 7))
	eventually(t, "the message is given back", func() bool { return counterValue(r.in.m.messages[messageDelayed]) > 0 })
	r.publish("others", good("u", 8))
	eventually(t, "the other source's is stored", func() bool { return counterValue(r.in.m.messages[messageStored]) == 1 })
	r.request("web", good("u", 9), http.StatusTooManyRequests)
	r.change(store, "web", func(rec *sources.Record) { rec.Rate = sources.Rate{} }, func(s *sources.Source) bool {
		_, spent := s.Spent(time.Now())
		return !spent
	})
	eventually(t, "the message comes again", r.inEmpty)
	if got, want := bodies(r.fresh()), []string{good("u", 7), good("u", 8)}; !slices.Equal(got, want) {
		t.Errorf("stored %v, want %v", got, want)
	}
}

// TestManyKeysOfASource: what one key has used, another has used too.
func TestManyKeysOfASource(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	store, key := r.register(sources.Record{Name: "web", Rate: sources.Rate{BytesPerSecond: 10, BurstSeconds: 1}})
	second, k := sources.NewKey(time.Now(), "")
	r.change(store, "web", func(rec *sources.Record) { rec.Keys = append(rec.Keys, k) }, func(*sources.Source) bool {
		_, ok := r.in.sources.ByKey(second)
		return ok
	})
	r.post(good("u", 1), "X-Write-Key", key).want(t, http.StatusOK)
	if a := r.post(good("u", 1), "X-Write-Key", second).want(t, http.StatusTooManyRequests); a.Problem.Code != "rate_limited" {
		t.Errorf("%s", a.Body)
	}
	for what, wrong := range map[string]string{"id": k.ID, "digest": k.SHA256, "upper case": strings.ToUpper(key)} {
		if a := r.post(good("u", 1), "X-Write-Key", wrong); a.Status != http.StatusUnauthorized {
			t.Errorf("%s as key: %d", what, a.Status)
		}
	}
	if text := fmt.Sprint(r.log); strings.Contains(text, key) {
		t.Error("the log shows a key")
	}
}

// TestASourceOverItsRateStopsNoOther: at the NATS door few of its messages may
// wait, as many would be all that NATS delivers.
func TestASourceOverItsRateStopsNoOther(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	r.in.door.mostDelayed = 3
	store, _ := r.register(sources.Record{Name: "web", Rate: sources.Rate{EventsPerSecond: 1, BurstSeconds: 1}})
	for i := range 20 {
		r.publish("web", good("u", i))
	}
	r.publish("others", good("u", 20))
	eventually(t, "three wait, the rest is stored", func() bool {
		return counterValue(r.in.m.messages[messageStored]) >= 18 && counterValue(r.in.m.messages[messageDelayed]) >= 3
	})
	r.change(store, "web", func(rec *sources.Record) { rec.Rate = sources.Rate{} }, func(s *sources.Source) bool {
		_, ok := s.Take(time.Now(), 1000, 1)
		return ok
	})
	eventually(t, "nothing is lost", r.inEmpty)
	if n := len(r.fresh()); n != 21 {
		t.Errorf("%d rows", n)
	}
	eventually(t, "none waits", func() bool { return r.in.door.delayed.Load() == 0 })
}
