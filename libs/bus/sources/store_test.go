package sources

import (
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/libs/bus"
)

func TestStore(t *testing.T) {
	r := newRig(t)
	js := r.js()
	ctx := t.Context()
	if _, err := Open(ctx, js, testNames); !errors.Is(err, bus.ErrNotProvisioned) {
		t.Fatalf("without a bucket: %v", err)
	}
	r.provision(js)
	r.provision(js) // again: nothing is lost
	store := r.store(js)
	if list, bad, err := store.List(ctx); err != nil || len(list)+len(bad) != 0 {
		t.Fatalf("an empty bucket lists %v, %v, %v", list, bad, err)
	}
	key := r.add(store, Record{Name: "shop", Origins: []string{"HTTPS://Shop.example.com"}})
	r.add(store, Record{Name: "app"})
	if _, err := store.Add(ctx, Record{Name: "shop"}); !errors.Is(err, ErrExists) {
		t.Errorf("a second shop: %v", err)
	}
	for _, bad := range []string{"", "a b", "a.b", "*", ">", strings.Repeat("a", 65)} {
		if _, err := store.Add(ctx, Record{Name: bad}); err == nil {
			t.Errorf("source %q is taken", bad)
		}
		if _, err := store.Get(ctx, bad); err == nil {
			t.Errorf("source %q is read", bad)
		}
	}
	if _, err := store.Get(ctx, "none"); !errors.Is(err, ErrUnknown) {
		t.Errorf("one that is not there: %v", err)
	}
	if _, err := store.Change(ctx, "none", func(*Record) error { return nil }); !errors.Is(err, ErrUnknown) {
		t.Errorf("a change of one that is not there: %v", err)
	}
	list, _, err := store.List(ctx)
	if err != nil || len(list) != 2 || list[0].Name != "app" || list[1].Origins[0] != "https://shop.example.com" || list[1].Version != Version || list[1].Created.IsZero() {
		t.Errorf("the list is %+v, %v", list, err)
	}

	// The key itself is nowhere.
	entry, err := store.kv.Get(ctx, "shop")
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^mr_[a-z2-7]{26}$`).MatchString(key) || strings.Contains(string(entry.Value()), key[3:]) ||
		!strings.Contains(string(entry.Value()), hex.EncodeToString(digestOf(key))) {
		t.Errorf("key %s is stored as %s", key, entry.Value())
	}

	// A change that changes nothing, or is refused, writes nothing.
	revision := entry.Revision()
	r.change(store, "shop", func(*Record) {})
	if _, err := store.Change(ctx, "shop", func(*Record) error { return errors.New("no") }); err == nil {
		t.Error("an error of the change is lost")
	}
	if _, err := store.Change(ctx, "shop", func(rec *Record) error { rec.Rate.BurstSeconds = 61; return nil }); err == nil {
		t.Error("a bad record is stored")
	}
	if entry, err := store.kv.Get(ctx, "shop"); err != nil || entry.Revision() != revision {
		t.Errorf("revision %d, %v; want %d", entry.Revision(), err, revision)
	}
}

// TestManyChangeOneSource: none of the changes is lost, or it says so.
func TestManyChangeOneSource(t *testing.T) {
	r := newRig(t)
	js := r.js()
	r.provision(js)
	store := r.store(js)
	r.add(store, Record{Name: "shop"})
	var mu sync.Mutex
	done := map[string]bool{}
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			name := fmt.Sprint("Event ", i)
			_, err := store.Change(t.Context(), "shop", func(rec *Record) error {
				rec.Allow.Names = append(rec.Allow.Names, name)
				return nil
			})
			if err != nil && !errors.Is(err, ErrContended) {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			done[name] = err == nil
		})
	}
	wg.Wait()
	stored := map[string]bool{}
	for _, n := range mustGet(t, store, "shop").Allow.Names {
		stored[n] = true
	}
	kept := 0
	for name, ok := range done {
		if ok != stored[name] {
			t.Errorf("%s: said %v, stored %v", name, ok, stored[name])
		}
		if ok {
			kept++
		}
	}
	if kept < 3 {
		t.Errorf("%d of 6 changes came through", kept)
	}
}

func TestKeyWorks(t *testing.T) {
	now := time.Now()
	for _, tc := range []struct {
		key  Key
		want bool
	}{
		{Key{}, true}, {Key{Disabled: true}, false}, {Key{Ends: now}, false}, {Key{Ends: now.Add(time.Second)}, true},
	} {
		if tc.key.Works(now) != tc.want {
			t.Errorf("%+v works: %v", tc.key, !tc.want)
		}
	}
}
