package bus

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// An observer knows the owner while it gives signs of life, what it says while
// it goes on saying it, and that it is gone when it is.
func TestAnObserverHearsOwnersAndWhatTheySay(t *testing.T) {
	t.Parallel()
	rig := newLeaseRig(t)
	names := Names{Prefix: "x"}
	if _, err := rig.js().CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: names.BucketLeases()}); err != nil {
		t.Fatal(err)
	}
	kv, err := rig.js().KeyValue(t.Context(), names.BucketLeases())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	t.Cleanup(func() { cancel(); all.Wait() })
	o := NewObserver()
	if _, _, known := o.Owner("mill", 0); known {
		t.Error("an observer that has heard nothing knows an owner")
	}
	observing := rig.js()
	all.Go(func() { _ = o.Run(ctx, observing, names) })

	leases, err := NewLeases(LeaseConfig{KV: kv, Service: "mill", Instance: "a", Shards: 1, TTL: hastyTTL, Renew: hastyRenew, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	living, die := context.WithCancel(ctx)
	all.Go(func() {
		_ = leases.Run(living, func(ctx context.Context, _ int) error { <-ctx.Done(); return nil })
	})
	var stuck atomic.Bool
	stuck.Store(true)
	telling := rig.js()
	all.Go(func() {
		_ = TellWhy(living, telling, names, "mill", func() []Why {
			if !stuck.Load() {
				return nil
			}
			return []Why{{Lane: 0, Reason: StuckAway, Why: "no answer", Since: time.Unix(1, 0).UTC(), Shut: true}}
		})
	})
	eventually(t, "the owner and what it says", func() (string, bool) {
		name, silent, known := o.Owner("mill", 0)
		w, ok := o.Said("mill", 0)
		return name, known && name == "a" && silent < OwnerSilence && ok &&
			w == Why{Lane: 0, Reason: StuckAway, Why: "no answer", Since: time.Unix(1, 0).UTC(), Shut: true}
	})
	stuck.Store(false)
	eventually(t, "what was said is taken back", func() (string, bool) {
		_, ok := o.Said("mill", 0)
		return "", !ok
	})
	stuck.Store(true)
	eventually(t, "it is said again", func() (string, bool) {
		_, ok := o.Said("mill", 0)
		return "", ok
	})
	// Whoever begins to listen now finds the words and cannot know how old they
	// are: they count once they are said again.
	late := NewObserver()
	lateCtx, lateEnd := context.WithCancel(ctx)
	lateJS := rig.js()
	all.Go(func() { _ = late.Run(lateCtx, lateJS, names) })
	eventually(t, "the late one has heard the owner", func() (string, bool) {
		name, _, known := late.Owner("mill", 0)
		return name, known && name == "a"
	})
	eventually(t, "and the words when they are said again", func() (string, bool) {
		_, says := late.Said("mill", 0)
		return "", says
	})
	lateEnd()
	die() // the lease is released; what was said last is not taken back
	eventually(t, "nobody is left", func() (string, bool) {
		name, silent, known := o.Owner("mill", 0)
		_, says := o.Said("mill", 0)
		return name, known && name == "" && silent >= OwnerSilence && !says
	})
	later := NewObserver() // of words that nobody repeats
	all.Go(func() { _ = later.Run(ctx, lateJS, names) })
	eventually(t, "the later one knows the bucket", func() (string, bool) {
		_, _, known := later.Owner("mill", 0)
		return "", known
	})
	if w, says := later.Said("mill", 0); says {
		t.Errorf("it takes an old word for a new one: %+v", w)
	}
	rig.stopServer()
	eventually(t, "what cannot be heard is not known", func() (string, bool) {
		_, _, known := o.Owner("mill", 0)
		return "", !known
	})
	rig.startServer()
	eventually(t, "clocks begin anew", func() (string, bool) {
		_, silent, known := o.Owner("mill", 0)
		return silent.String(), known && silent < OwnerSilence
	})
}

// Processes without leases are known by signs of life alone.
func TestAnObserverHearsMembers(t *testing.T) {
	t.Parallel()
	rig := newLeaseRig(t)
	names := Names{Prefix: "x"}
	if _, err := rig.js().CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: names.BucketLeases()}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	t.Cleanup(func() { cancel(); all.Wait() })
	o := NewObserver()
	if _, _, known := o.Members("door"); known {
		t.Error("an observer that has heard nothing knows members")
	}
	observing := rig.js()
	all.Go(func() { _ = o.Run(ctx, observing, names) })
	is := func(what string, ok func(alive int, silent time.Duration) bool) {
		t.Helper()
		eventually(t, what, func() (string, bool) {
			alive, silent, known := o.Members("door")
			return fmt.Sprintf("%d, %s, %t", alive, silent, known), known && ok(alive, silent)
		})
	}
	is("nobody, and not for long", func(alive int, silent time.Duration) bool { return alive == 0 && silent < OwnerSilence })
	living, end := context.WithCancel(ctx)
	crashing, crash := context.WithCancel(ctx)
	for name, life := range map[string]context.Context{"a": living, "b": crashing} {
		nc := rig.connect()
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() { _ = Present(life, js, names, "door", name) })
		if name == "b" {
			context.AfterFunc(crashing, nc.Close) // it cannot even say that it goes
		}
	}
	is("both", func(alive int, silent time.Duration) bool { return alive == 2 && silent < OwnerSilence })
	if alive, _, _ := o.Members("mill"); alive != 0 {
		t.Errorf("another service has %d members", alive)
	}
	end()
	is("the one that left in order is gone at once", func(alive int, silent time.Duration) bool { return alive == 1 && silent < OwnerSilence })
	crash()
	is("the other by its silence", func(alive int, silent time.Duration) bool { return alive == 0 && silent >= OwnerSilence })
}
