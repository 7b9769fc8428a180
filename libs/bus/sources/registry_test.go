package sources

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/libs/bus/writekey"
)

func TestChangesWorkWithoutARestart(t *testing.T) {
	r := newRig(t)
	js := r.js()
	r.provision(js)
	store, reg := r.store(js), r.registry(r.js(), "demo:k-demo")
	r.opens(reg, "k-demo", "demo")
	r.within("the bucket is read", reg.Loaded)
	if reg.Find("shop") != nil || reg.Find("demo") == nil {
		t.Error("want demo alone")
	}

	key := r.add(store, Record{Name: "shop", Rate: Rate{EventsPerSecond: 1, BurstSeconds: 1}})
	r.opens(reg, key, "shop")
	for _, wrong := range []string{"", "mr_", key + "x", strings.ToUpper(key), reg.Find("shop").record.Keys[0].SHA256} {
		if s, ok := reg.ByKey(wrong); ok {
			t.Errorf("%q is a key of %s", wrong, s.Name)
		}
	}
	if _, ok := reg.Find("shop").Take(time.Now(), 1, 1); !ok {
		t.Error("the first event is over the rate")
	}

	// A second key; the first ends in a moment, and nobody says so then.
	second, k := NewKey(time.Now(), "")
	r.change(store, "shop", func(rec *Record) {
		rec.Keys[0].Ends = time.Now().Add(300 * time.Millisecond)
		rec.Keys = append(rec.Keys, k)
	})
	r.opens(reg, second, "shop")
	r.opens(reg, key, "")
	if _, ok := reg.Find("shop").Take(time.Now(), 1, 1); ok {
		t.Error("another key made the source forget what it had used")
	}

	// A key that is disabled, a source that is, and back.
	r.change(store, "shop", func(rec *Record) { rec.Keys[1].Disabled = true })
	r.opens(reg, second, "")
	r.change(store, "shop", func(rec *Record) { rec.Keys[1].Disabled = false })
	r.opens(reg, second, "shop")
	r.change(store, "shop", func(rec *Record) { rec.Disabled = true })
	r.opens(reg, second, "")
	if s := reg.Find("shop"); s == nil || !s.Disabled() {
		t.Error("the disabled source is not known as such")
	}

	// The keys of flags: a record of the source can disable them.
	r.add(store, Record{Name: "demo", Disabled: true})
	r.opens(reg, "k-demo", "")
	r.change(store, "demo", func(rec *Record) { rec.Disabled = false })
	r.opens(reg, "k-demo", "demo")

	// Gone.
	if err := store.kv.Delete(t.Context(), "shop"); err != nil {
		t.Fatal(err)
	}
	r.within("shop is gone", func() bool { return reg.Find("shop") == nil })
	r.opens(reg, second, "")
}

func TestTheLastStateStands(t *testing.T) {
	r := newRig(t)
	js := r.js()
	r.provision(js)
	store := r.store(js)
	key := r.add(store, Record{Name: "shop"})
	reg := r.registry(r.js(), "")
	r.opens(reg, key, "shop")

	r.stop()
	if s, ok := reg.ByKey(key); !ok || s.Name != "shop" {
		t.Error("without NATS the source is not known any more")
	}
	// One that starts now knows the keys of flags, and that it knows no others.
	late := r.registry(r.js(), "demo:k-demo")
	r.opens(late, "k-demo", "demo")
	if _, ok := late.ByKey(key); ok || late.Loaded() {
		t.Error("sources are loaded without NATS")
	}
	r.start()
	r.opens(late, key, "shop")

	// What happens right after NATS is back is heard by who watched before.
	r.change(r.store(r.js()), "shop", func(rec *Record) { rec.Disabled = true })
	r.opens(reg, key, "")
	r.opens(late, key, "")
}

// TestNoBucket: an installation of before, whose streams nobody may create here.
func TestNoBucket(t *testing.T) {
	r := newRig(t)
	js := r.js()
	reg := r.registry(r.js(), "demo:k-demo")
	r.within("the bucket is known to be missing", reg.Loaded)
	r.opens(reg, "k-demo", "demo")
	r.provision(js)
	key := r.add(r.store(js), Record{Name: "shop"})
	r.opens(reg, key, "shop")
	if n := strings.Count(r.log.String(), "the bucket does not exist"); n != 1 {
		t.Errorf("%d lines about the bucket, want one", n)
	}
}

func TestAnUnreadableRecordChangesNothing(t *testing.T) {
	r := newRig(t)
	js := r.js()
	r.provision(js)
	store := r.store(js)
	key, other := r.add(store, Record{Name: "shop"}), r.add(store, Record{Name: "app"})
	reg := r.registry(r.js(), "")
	r.opens(reg, key, "shop")
	for _, damaged := range []string{
		"", "{", "null", `{"version":2,"name":"shop","keys":"in another form"}`, `{"version":2,"name":"shop"}`, `{"name":"shop"}`,
		`{"version":1,"name":"app"}`, `{"version":1,"name":"shop","keys":[{"id":"a","sha256":"abc"}]}`, `{"version":1,"name":"shop","origins":["*"]}`,
	} {
		if _, err := store.kv.Put(t.Context(), "shop", []byte(damaged)); err != nil {
			t.Fatal(err)
		}
		// What comes after it is heard.
		r.change(store, "app", func(rec *Record) { rec.Disabled = !rec.Disabled })
		if mustGet(t, store, "app").Disabled {
			r.opens(reg, other, "")
		} else {
			r.opens(reg, other, "app")
		}
		if s, ok := reg.ByKey(key); !ok || s.Name != "shop" {
			t.Fatalf("%q took the key away", damaged)
		}
		if _, err := store.Get(t.Context(), "shop"); err == nil {
			t.Errorf("%q is read", damaged)
		}
	}
	if n := strings.Count(r.log.String(), "cannot be read and stays"); n != 9 {
		t.Errorf("%d lines about unreadable values, want 9", n)
	}
	// Bytes that a later version adds are no reason.
	var known map[string]any
	good := mustGet(t, store, "app")
	text, _ := json.Marshal(good)
	if err := json.Unmarshal(text, &known); err != nil {
		t.Fatal(err)
	}
	known["colour"] = "green"
	text, _ = json.Marshal(known)
	if _, err := parse("app", text); err != nil {
		t.Errorf("a member that is not known: %v", err)
	}

	// One that starts now finds the good value of before in the history.
	if _, err := store.kv.Put(t.Context(), "app", []byte("{")); err != nil {
		t.Fatal(err)
	}
	late := r.registry(r.js(), "")
	r.within("it is read", late.Loaded)
	if late.Find("app") == nil {
		t.Error("the good value of before is not known")
	}
	if _, unreadable, err := store.List(t.Context()); err != nil || len(unreadable) != 2 {
		t.Errorf("unreadable %v, %v", unreadable, err)
	}
}

func mustGet(t *testing.T, s *Store, name string) Record {
	t.Helper()
	rec, err := s.Get(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// TestOneKeyOfTwoSources: the store refuses it, and where it is so all the same
// the older source has it, and flags before all.
func TestOneKeyOfTwoSources(t *testing.T) {
	r := newRig(t)
	js := r.js()
	r.provision(js)
	store := r.store(js)
	key := r.add(store, Record{Name: "older"})
	same := mustGet(t, store, "older").Keys
	if _, err := store.Add(t.Context(), Record{Name: "newer", Keys: same}); err == nil || !strings.Contains(err.Error(), "another source has the same write key") {
		t.Fatalf("the same key again: %v", err)
	}
	r.add(store, Record{Name: "newer"})
	if _, err := store.Change(t.Context(), "newer", func(rec *Record) error { rec.Keys = same; return nil }); err == nil {
		t.Fatal("the same key is taken by a change")
	}
	newer := mustGet(t, store, "newer")
	newer.Keys = same
	text, _ := json.Marshal(newer)
	if _, err := store.kv.Put(t.Context(), "newer", text); err != nil {
		t.Fatal(err)
	}
	reg := r.registry(r.js(), "")
	r.within("both are known", func() bool { return reg.Loaded() })
	r.opens(reg, key, "older")
	if log := r.log.String(); strings.Count(log, "is a key of source older too") != 1 {
		t.Errorf("want it logged once:\n%s", log)
	}
	flags := r.registry(r.js(), "demo:"+key)
	r.within("both are known", func() bool { return flags.Loaded() })
	r.opens(flags, key, "demo")
	// A flag's source that is disabled keeps its key to itself.
	r.add(store, Record{Name: "demo", Disabled: true})
	r.opens(flags, key, "")
}

// manyKeys is a registry of that many keys of flags and as many of records.
func manyKeys(tb testing.TB, n int) *Registry {
	tb.Helper()
	var flags writekey.Keys
	records := map[string]Record{}
	for i := range n {
		name := fmt.Sprint("s", i)
		if err := flags.Add(name, "flag-"+name); err != nil {
			tb.Fatal(err)
		}
		key := Key{ID: name, SHA256: hex.EncodeToString(digestOf("record-" + name))}
		records[name] = Record{Version: Version, Name: name, Keys: []Key{key}}
	}
	r := New(flags, slog.New(slog.DiscardHandler))
	r.install(records)
	return r
}

func TestManyKeys(t *testing.T) {
	const n = 5_000
	r := manyKeys(t, n)
	for i := range n {
		name := fmt.Sprint("s", i)
		for _, kind := range []string{"flag-", "record-"} {
			if s, ok := r.ByKey(kind + name); !ok || s.Name != name {
				t.Fatalf("the key %s%s is of %v", kind, name, s)
			}
		}
		if s, ok := r.ByKey(name); ok {
			t.Fatalf("%s is a key of %s", name, s.Name)
		}
	}
}

// BenchmarkByKey: a lookup takes as long among many keys as among few.
func BenchmarkByKey(b *testing.B) {
	for _, n := range []int{1, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := manyKeys(b, n)
			for b.Loop() {
				r.ByKey("record-s0")
			}
		})
	}
}
