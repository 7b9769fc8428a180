package bus

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

var testNames = Names{Prefix: "millrace"}

func plan() Plan {
	return Plan{Shards: 3, Sinks: 2, Sizes: Sizes{In: 1 << 20, Raw: 1 << 20, Enriched: 1 << 20, Dead: 1 << 20}, MaxIn: 1 << 16}
}

func TestManyProvisionAtOnceAndAgreeOnOneLife(t *testing.T) {
	js := newLeaseRig(t).js()
	if _, err := Open(t.Context(), js, testNames); !errors.Is(err, ErrNotProvisioned) {
		t.Fatalf("before: %v", err)
	}
	var wg sync.WaitGroup
	all := make([]Installation, 6)
	for i := range all {
		wg.Go(func() {
			var err error
			if all[i], err = Provision(t.Context(), js, testNames, plan()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, inst := range all {
		if inst != all[0] || inst.Shards != 3 || inst.Sinks != 2 || inst.Incarnation == 0 {
			t.Errorf("installations differ: %+v and %+v", all[0], inst)
		}
	}
}

func TestProvisionChangesSizesAndNothingElse(t *testing.T) {
	js := newLeaseRig(t).js()
	p := plan()
	first, err := Provision(t.Context(), js, testNames, p)
	if err != nil {
		t.Fatal(err)
	}
	p.Sizes.Raw = 2 << 20
	second, err := Provision(t.Context(), js, testNames, p)
	if err != nil || second != first {
		t.Fatalf("%+v, %v; want %+v", second, err, first)
	}
	s, err := js.Stream(t.Context(), testNames.StreamRaw(1))
	if err != nil || s.CachedInfo().Config.MaxBytes != 2<<20 {
		t.Errorf("RAW_1: %v, %v", s.CachedInfo().Config.MaxBytes, err)
	}
	p.Shards = 4
	if _, err := Provision(t.Context(), js, testNames, p); err == nil || !strings.Contains(err.Error(), "fixed for the life") {
		t.Errorf("other shards: %v", err)
	}
	p.Shards, p.Sinks = 3, 3
	if _, err := Provision(t.Context(), js, testNames, p); err == nil || !strings.Contains(err.Error(), "sinks are fixed for the life") {
		t.Errorf("other sinks: %v", err)
	}
	p.Sinks = 0
	if third, err := Provision(t.Context(), js, testNames, p); err != nil || third != first {
		t.Errorf("sinks left open: %+v, %v; want %+v", third, err, first)
	}
	p.Sinks, p.Sizes.Dead = 2, 0
	if _, err := Provision(t.Context(), js, testNames, p); err == nil {
		t.Error("a stream without a limit is taken")
	}
}

func TestAStreamThatForgetsIsRefused(t *testing.T) {
	js := newLeaseRig(t).js()
	if _, err := Provision(t.Context(), js, testNames, plan()); err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), testNames.StreamEnriched(2))
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	cfg.Discard = jetstream.DiscardOld
	if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := Provision(t.Context(), js, testNames, plan()); err == nil || !strings.Contains(err.Error(), cfg.Name) {
		t.Errorf("a stream that discards old messages: %v", err)
	}
}

func TestTheLedgerTakesOneOfTwoOwners(t *testing.T) {
	js := newLeaseRig(t).js()
	if _, err := Provision(t.Context(), js, testNames, plan()); err != nil {
		t.Fatal(err)
	}
	ledger, err := js.Stream(t.Context(), testNames.StreamLedger())
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if _, ok, err := LedgerLast(ctx, ledger, testNames, 1); ok || err != nil {
		t.Fatalf("an empty ledger: %v, %v", ok, err)
	}
	record := func(sink int, proven uint64) Record {
		return Record{Sink: sink, Shards: []Proof{{Shard: sink, Proven: proven, Totals: Totals{In: 9, Rows: 7, Dead: 1, Repeats: 1}}}}
	}
	first := record(1, 5)
	if err := LedgerAppend(ctx, js, ledger, testNames, &first, 0); err != nil {
		t.Fatal(err)
	}
	// The reply of the same append was lost: written again, it counts as stored.
	again := record(1, 5)
	if err := LedgerAppend(ctx, js, ledger, testNames, &again, 0); err != nil || again.Revision != first.Revision {
		t.Errorf("the same record again: revision %d, %v; want %d", again.Revision, err, first.Revision)
	}
	other := record(1, 6)
	if err := LedgerAppend(ctx, js, ledger, testNames, &other, 0); !errors.Is(err, ErrFenced) {
		t.Errorf("another record at the same place: %v", err)
	}
	elsewhere := record(0, 0)
	if err := LedgerAppend(ctx, js, ledger, testNames, &elsewhere, 0); err != nil {
		t.Errorf("another sink: %v", err)
	}
	got, ok, err := LedgerLast(ctx, ledger, testNames, 1)
	if err != nil || !ok || !reflect.DeepEqual(got, first) {
		t.Errorf("read back %+v, %v, %v", got, ok, err)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if err := LedgerAppend(gone, js, ledger, testNames, &other, first.Revision); err == nil || errors.Is(err, ErrFenced) {
		t.Errorf("an append that never left: %v, want an error that is no fence", err)
	}
}

func TestLeasesAreForgottenAndDeathsAreNot(t *testing.T) {
	js := newLeaseRig(t).js()
	if err := ForgetLeases(t.Context(), js, testNames); err != nil {
		t.Fatalf("before there are any: %v", err)
	}
	if _, err := Provision(t.Context(), js, testNames, plan()); err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), testNames.BucketLeases())
	if err != nil {
		t.Fatal(err)
	}
	crash := testNames.KeyCrash(1)
	for _, key := range []string{"indexer.member.abc", "indexer.shard.0", "enricher.member.abc", "enricher.shard.2", crash} {
		if _, err := kv.Put(t.Context(), key, []byte("abc")); err != nil {
			t.Fatal(err)
		}
	}
	if err := ForgetLeases(t.Context(), js, testNames); err != nil {
		t.Fatal(err)
	}
	keys, err := kv.Keys(t.Context())
	if err != nil || len(keys) != 1 || keys[0] != crash {
		t.Errorf("the bucket holds %v, %v; want only %s", keys, err, crash)
	}
	if _, err := kv.Create(t.Context(), "enricher.shard.2", []byte("def")); err != nil {
		t.Errorf("a forgotten shard cannot be taken: %v", err)
	}
}
