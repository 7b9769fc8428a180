package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func TestLeasesAreSharedOut(t *testing.T) {
	t.Parallel()
	rig := newLeaseRig(t)
	a := rig.start("a", 4, patientTTL, patientRenew, untilTold)
	rig.eventuallyShares("a:4")
	eventually(t, "want all four held", func() (string, bool) {
		got := a.leases.Held()
		return fmt.Sprint(got), slices.Equal(got, []int{0, 1, 2, 3})
	})
	b := rig.start("b", 4, patientTTL, patientRenew, untilTold)
	rig.eventuallyShares("a:2 b:2")
	c := rig.start("c", 4, patientTTL, patientRenew, untilTold)
	rig.eventuallyShares("a:2 b:1 c:1")
	d := rig.start("d", 4, patientTTL, patientRenew, untilTold)
	rig.eventuallyShares("a:1 b:1 c:1 d:1")
	rig.start("e", 4, patientTTL, patientRenew, untilTold) // one more than there are shards
	a.stop()
	rig.eventuallyShares("b:1 c:1 d:1 e:1")
	b.stop()
	c.stop()
	d.stop()
	rig.eventuallyShares("e:4")
	rig.neverDoubled()
	for _, cause := range slices.Concat(a.endedBecause(), b.endedBecause()) {
		if !errors.Is(cause, ErrLeaseGiven) && !errors.Is(cause, context.Canceled) {
			t.Errorf("a shard ended because of %v, want given away or cancelled", cause)
		}
	}
}

func TestLeasesOfManyComingAndGoing(t *testing.T) {
	t.Parallel()
	rig := newLeaseRig(t)
	const shards = 7
	var instances []*leaseInstance
	for round := range 6 {
		for i := range 3 {
			instances = append(instances, rig.start(fmt.Sprintf("r%di%d", round, i), shards, patientTTL, patientRenew, untilTold))
		}
		instances[0].stop()
		instances[1].stop()
		instances = instances[2:]
	}
	eventually(t, "want every shard worked on, in equal parts", func() (string, bool) {
		got := rig.shares()
		return got, strings.Count(got, ":2") == 1 && strings.Count(got, ":1") == 5
	})
	for _, in := range instances {
		in.stop()
	}
	if got := rig.shares(); got != "" {
		t.Errorf("after all have stopped: %s", got)
	}
	rig.neverDoubled()
	keys, err := rig.kv(rig.connect()).Keys(t.Context())
	if !errors.Is(err, jetstream.ErrNoKeysFound) {
		t.Errorf("keys left behind: %v (%v)", keys, err)
	}
}

func TestLeaseIsReleasedOnlyAfterTheWork(t *testing.T) {
	t.Parallel()
	rig := newLeaseRig(t)
	told, finish := make(chan struct{}), make(chan struct{})
	a := rig.start("a", 1, hastyTTL, hastyRenew, func(ctx context.Context, _ int) error {
		<-ctx.Done()
		close(told)
		<-finish
		return nil
	})
	rig.eventuallyShares("a:1")
	rig.start("b", 1, hastyTTL, hastyRenew, untilTold)
	a.cancel()
	<-told
	// For longer than a lease lasts the drained work keeps its lease.
	kv := rig.kv(rig.connect())
	entry, err := kv.Get(t.Context(), "indexer.shard.0")
	if err != nil {
		t.Fatal(err)
	}
	first := entry.Revision()
	begin := time.Now()
	eventually(t, "want renewals past the TTL", func() (string, bool) {
		if entry, err = kv.Get(t.Context(), "indexer.shard.0"); err != nil {
			t.Fatal(err)
		}
		if got := string(entry.Value()); got != "a" {
			t.Fatalf("the lease is held by %q while a is still at work", got)
		}
		return fmt.Sprint(entry.Revision()), entry.Revision() > first && time.Since(begin) > hastyTTL+hastyRenew
	})
	close(finish)
	rig.eventuallyShares("b:1")
	rig.neverDoubled()
}

func TestLeasesOfTheDeadAreTakenOver(t *testing.T) {
	t.Parallel()
	rig := newLeaseRig(t)
	a := rig.start("a", 4, hastyTTL, hastyRenew, untilTold)
	rig.eventuallyShares("a:4")
	rig.start("b", 4, hastyTTL, hastyRenew, untilTold)
	rig.eventuallyShares("a:2 b:2")
	given := len(a.endedBecause())

	a.nc.Close() // it can say nothing any more, not even that it leaves
	rig.eventuallyShares("b:4")
	expired := 0
	for _, cause := range a.endedBecause()[given:] {
		if errors.Is(cause, ErrLeaseExpired) {
			expired++
		}
	}
	if expired < 2 {
		t.Errorf("the work of a ended because of %v, want ErrLeaseExpired of two shards", a.endedBecause()[given:])
	}
}

// A leftover of a killed process holds up nobody for longer than its TTL, even
// if nobody saw it alive.
func TestLeasesOfTheForgottenAreTakenOver(t *testing.T) {
	t.Parallel()
	rig := newLeaseRig(t)
	kv := rig.kv(rig.connect())
	for _, key := range []string{"indexer.member.ghost", "indexer.shard.0", "indexer.shard.1"} {
		if _, err := kv.PutString(t.Context(), key, "ghost"); err != nil {
			t.Fatal(err)
		}
	}
	rig.start("a", 2, hastyTTL, hastyRenew, untilTold)
	rig.eventuallyShares("a:2")
}

func TestLeasesOutliveAShortAbsenceOfNATS(t *testing.T) {
	t.Parallel()
	rig := newLeaseRig(t)
	a := rig.start("a", 2, time.Minute, 100*time.Millisecond, untilTold)
	rig.eventuallyShares("a:2")
	b := rig.start("b", 2, time.Minute, 100*time.Millisecond, untilTold)
	rig.eventuallyShares("a:1 b:1")
	given := len(a.endedBecause())
	rig.stopServer()
	a.log.eventuallyHas(t, "leases cannot be kept")
	b.log.eventuallyHas(t, "leases cannot be kept")
	rig.startServer()
	a.log.eventuallyHas(t, "leases are kept again")
	b.log.eventuallyHas(t, "leases are kept again")
	if got := append(a.endedBecause()[given:], b.endedBecause()...); len(got) > 0 {
		t.Errorf("work was ended: %v", got)
	}
	// The watch is alive too: a's shard goes to b as soon as a has left.
	a.stop()
	rig.eventuallyShares("b:2")
	rig.neverDoubled()
}

func TestLeasesEndWithALongAbsenceOfNATS(t *testing.T) {
	t.Parallel()
	rig := newLeaseRig(t)
	a := rig.start("a", 2, hastyTTL, hastyRenew, untilTold)
	rig.eventuallyShares("a:2")
	b := rig.start("b", 2, hastyTTL, hastyRenew, untilTold)
	rig.eventuallyShares("a:1 b:1")
	given := len(a.endedBecause())
	rig.stopServer()
	rig.eventuallyShares("")
	for _, cause := range append(a.endedBecause()[given:], b.endedBecause()...) {
		if !errors.Is(cause, ErrLeaseExpired) {
			t.Errorf("the work ended because of %v, want ErrLeaseExpired", cause)
		}
	}
	rig.startServer()
	rig.eventuallyShares("a:1 b:1")
	// Each took its own again: who could not be heard was not declared dead.
	for _, in := range []*leaseInstance{a, b} {
		if strings.Contains(in.log.String(), "silent instance") {
			t.Errorf("%s took what was not its own:\n%s", in.name, in.log)
		}
	}
	rig.stopServer()
	a.stop() // nobody is there to release anything to
	b.stop()
}

func TestLeaseThatIsStolen(t *testing.T) {
	t.Parallel()
	rig := newLeaseRig(t)
	a := rig.start("a", 1, hastyTTL, hastyRenew, untilTold)
	rig.eventuallyShares("a:1")
	kv := rig.kv(rig.connect())
	if _, err := kv.PutString(t.Context(), "indexer.shard.0", "thief"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "want the work ended by the theft", func() (string, bool) {
		causes := a.endedBecause()
		return fmt.Sprint(causes), slices.ContainsFunc(causes, func(err error) bool { return errors.Is(err, ErrLeaseLost) })
	})
	entry, err := kv.Get(t.Context(), "indexer.shard.0")
	if err != nil || string(entry.Value()) == "" {
		t.Errorf("the thief's key was touched: %v", err)
	}
	rig.eventuallyShares("a:1") // the thief never renewed
}

// The loss is heard of, not only met at the next renewal.
func TestLeaseThatIsDeleted(t *testing.T) {
	t.Parallel()
	rig := newLeaseRig(t)
	a := rig.start("a", 1, patientTTL, patientRenew, untilTold)
	rig.eventuallyShares("a:1")
	if err := rig.kv(rig.connect()).Delete(t.Context(), "indexer.shard.0"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "want the work ended by the loss", func() (string, bool) {
		causes := a.endedBecause()
		return fmt.Sprint(causes), len(causes) == 1 && errors.Is(causes[0], ErrLeaseLost)
	})
	rig.eventuallyShares("a:1")
}

// Keys that carry the name of this instance although it does not work on them
// (the answer to a request was lost) are taken or released, not waited for.
func TestLeasesThatAreLeftOver(t *testing.T) {
	t.Parallel()
	rig := newLeaseRig(t)
	kv := rig.kv(rig.connect())
	for _, key := range []string{"indexer.shard.0", "indexer.shard.1"} {
		if _, err := kv.PutString(t.Context(), key, "b"); err != nil {
			t.Fatal(err)
		}
	}
	rig.start("a", 2, patientTTL, patientRenew, untilTold)
	rig.start("b", 2, patientTTL, patientRenew, untilTold)
	rig.eventuallyShares("a:1 b:1")
}

// deafKV is a bucket whose first watch names all keys and then hears nothing.
type deafKV struct {
	jetstream.KeyValue
	watches atomic.Int32
}

func (kv *deafKV) Watch(ctx context.Context, keys string, opts ...jetstream.WatchOpt) (jetstream.KeyWatcher, error) {
	if kv.watches.Add(1) > 1 {
		return kv.KeyValue.Watch(ctx, keys, opts...)
	}
	updates := make(chan jetstream.KeyValueEntry, 1)
	updates <- nil
	return deafWatcher(updates), nil
}

type deafWatcher chan jetstream.KeyValueEntry

func (w deafWatcher) Updates() <-chan jetstream.KeyValueEntry { return w }
func (w deafWatcher) Stop() error                             { return nil }
func (w deafWatcher) Error() <-chan error                     { return nil }

func TestLeasesWhoseWatchGoesDeaf(t *testing.T) {
	t.Parallel()
	rig := newLeaseRig(t)
	rig.deaf = true
	rig.start("a", 2, hastyTTL, hastyRenew, untilTold)
	rig.eventuallyShares("a:2")
	rig.deaf = false
	rig.start("b", 2, hastyTTL, hastyRenew, untilTold)
	rig.eventuallyShares("a:1 b:1")
}

func TestLeasesWhoseBucketIsEmptied(t *testing.T) {
	t.Parallel()
	rig := newLeaseRig(t)
	rig.start("a", 2, hastyTTL, hastyRenew, untilTold)
	rig.start("b", 2, hastyTTL, hastyRenew, untilTold)
	rig.eventuallyShares("a:1 b:1")
	js := rig.js()
	if err := js.DeleteKeyValue(t.Context(), "LEASES"); err != nil {
		t.Fatal(err)
	}
	rig.eventuallyShares("")
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "LEASES"}); err != nil {
		t.Fatal(err)
	}
	rig.eventuallyShares("a:1 b:1")
}

func TestLeaseOfWorkThatFails(t *testing.T) {
	t.Parallel()
	rig := newLeaseRig(t)
	var mu sync.Mutex
	var attempts []time.Time
	a := rig.start("a", 2, patientTTL, patientRenew, func(ctx context.Context, shard int) error {
		if shard == 1 {
			mu.Lock()
			attempts = append(attempts, time.Now())
			n := len(attempts)
			mu.Unlock()
			switch {
			case n < 4:
				return errors.New("broken")
			case n == 4:
				return nil
			}
		}
		<-ctx.Done()
		return nil
	})
	eventually(t, "want the fifth attempt to last", func() (string, bool) {
		mu.Lock()
		defer mu.Unlock()
		return fmt.Sprint(len(attempts)), len(attempts) == 5
	})
	rig.eventuallyShares("a:2")
	// Not a speed: the delays may only be longer.
	for i, least := range []time.Duration{faultFirst, 2 * faultFirst, 4 * faultFirst, 8 * faultFirst} {
		if gap := attempts[i+1].Sub(attempts[i]); gap < least {
			t.Errorf("attempt %d came after %s, want at least %s", i+2, gap, least)
		}
	}
	for _, want := range []string{"err=broken", "returned without being told to stop"} {
		if !strings.Contains(a.log.String(), want) {
			t.Errorf("no %q in the log:\n%s", want, a.log)
		}
	}
	rig.neverDoubled()
}

// Whoever could not work on a shard hears that another does.
func TestAShardThatAnotherTookIsTheirs(t *testing.T) {
	t.Parallel()
	rig := newLeaseRig(t)
	a := rig.start("a", 2, hastyTTL, hastyRenew, func(ctx context.Context, shard int) error {
		if shard == 1 {
			return errors.New("broken")
		}
		<-ctx.Done()
		return nil
	})
	a.log.eventuallyHas(t, "err=broken")
	if others := a.othersHave(); len(others) > 0 {
		t.Errorf("alone, it hears that others have %v", others)
	}
	b := rig.start("b", 2, hastyTTL, hastyRenew, untilTold)
	rig.eventuallyShares("a:1 b:1")
	eventually(t, "want shard 1 to be another's", func() (string, bool) {
		others := a.othersHave()
		return fmt.Sprint(others), slices.Equal(others, []int{1})
	})
	eventually(t, "want the other to hear the same of shard 0", func() (string, bool) {
		others := b.othersHave()
		return fmt.Sprint(others), slices.Equal(others, []int{0})
	})
}

func TestLeaseConfigIsChecked(t *testing.T) {
	t.Parallel()
	rig := newLeaseRig(t)
	check := func(name string, change func(*LeaseConfig), want string) {
		t.Helper()
		cfg := LeaseConfig{KV: rig.kv(rig.connect()), Service: "indexer", Shards: 4, Log: slog.New(slog.DiscardHandler)}
		change(&cfg)
		l, err := NewLeases(cfg)
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: got %v, want %q", name, err, want)
		case want == "" && l.Instance() == "":
			t.Errorf("%s: no name was chosen", name)
		}
	}
	check("least", func(*LeaseConfig) {}, "")
	check("one short TTL", func(c *LeaseConfig) { c.TTL = time.Second }, "")
	check("no bucket", func(c *LeaseConfig) { c.KV = nil }, "KV")
	check("no log", func(c *LeaseConfig) { c.Log = nil }, "Log")
	check("no service", func(c *LeaseConfig) { c.Service = "" }, "service")
	check("dots", func(c *LeaseConfig) { c.Instance = "a.b" }, "instance")
	check("no shards", func(c *LeaseConfig) { c.Shards = 0 }, "shards")
	check("renews too seldom", func(c *LeaseConfig) { c.TTL, c.Renew = 4*time.Second, 2*time.Second }, "more than twice")
}
