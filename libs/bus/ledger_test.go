package bus

import (
	"errors"
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

func TestEveryShardIsOfOneSink(t *testing.T) {
	for shards := 1; shards <= 9; shards++ {
		for sinks := 1; sinks <= shards; sinks++ {
			inst := Installation{Shards: shards, Sinks: sinks}
			owner := map[int]int{}
			for sink := range sinks {
				of := inst.ShardsOf(sink)
				if len(of) < shards/sinks || len(of) > shards/sinks+1 {
					t.Errorf("sink %d of %d has %d of %d shards", sink, sinks, len(of), shards)
				}
				for _, shard := range of {
					if inst.SinkOf(shard) != sink {
						t.Errorf("shard %d is listed for sink %d, but of sink %d", shard, sink, inst.SinkOf(shard))
					}
					owner[shard]++
				}
			}
			if len(owner) != shards {
				t.Errorf("%d sinks have %d of %d shards: %v", sinks, len(owner), shards, owner)
			}
		}
	}
}

func TestATokenNamesTheBlock(t *testing.T) {
	record := func() Record {
		return Record{Incarnation: 1700000000000, Sink: 1, Open: &Intent{Ranges: []Range{{Shard: 1, First: 3, Last: 7}, {Shard: 3, First: 3, Last: 3}}}}
	}
	base := record()
	if got, want := base.Token(), "1700000000000:1:1.3-7,3.3-3:0:0"; got != want {
		t.Errorf("token %q, want %q", got, want)
	}
	many := func() Record {
		r := Record{Incarnation: 1, Open: &Intent{}}
		for shard := range 256 {
			r.Open.Ranges = append(r.Open.Ranges, Range{Shard: shard, First: 1 << 62, Last: 1<<62 + 1})
		}
		return r
	}
	seen := map[string]string{}
	see := func(what string, r Record) {
		t.Helper()
		token := r.Token()
		if len(token) > maxToken {
			t.Errorf("%s: a token of %d bytes", what, len(token))
		}
		if again := r.Token(); again != token {
			t.Errorf("%s: token %q, then %q", what, token, again)
		}
		if other, ok := seen[token]; ok {
			t.Errorf("%s and %s have the token %q", what, other, token)
		}
		seen[token] = what
	}
	see("few", base)
	see("many", many())
	for what, change := range map[string]func(*Record){
		"incarnation": func(r *Record) { r.Incarnation++ },
		"sink":        func(r *Record) { r.Sink++ },
		"shard":       func(r *Record) { r.Open.Ranges[1].Shard++ },
		"first":       func(r *Record) { r.Open.Ranges[1].First++ },
		"last":        func(r *Record) { r.Open.Ranges[0].Last++ },
		"fewer":       func(r *Record) { r.Open.Ranges = r.Open.Ranges[1:] },
		"attempt":     func(r *Record) { r.Open.Attempt++ },
		"exclusions":  func(r *Record) { r.Open.Excluded = append(r.Open.Excluded, Exclusion{Shard: 1, Seq: 3}) },
	} {
		few, lots := record(), many()
		change(&few)
		change(&lots)
		see("few, other "+what, few)
		see("many, other "+what, lots)
	}
}

func TestARecordIsSharedOut(t *testing.T) {
	r := Record{
		Incarnation: 9, Revision: 4,
		Shards: []Proof{{Shard: 0, Proven: 5, Totals: Totals{In: 9, Rows: 9}}, {Shard: 2, Proven: 1, Totals: Totals{In: 2, Rows: 2}}, {Shard: 4}},
		Open: &Intent{
			Ranges: []Range{
				{Shard: 0, First: 6, Last: 8, Totals: Totals{In: 10, Rows: 8, Dead: 1, Repeats: 1}},
				{Shard: 2, First: 2, Last: 2, Totals: Totals{In: 3, Rows: 3}},
			},
			Excluded: []Exclusion{{Shard: 0, Seq: 7}, {Shard: 2, Seq: 2}, {Shard: 2, Seq: 2, Idx: 1}},
		},
	}
	if n := r.Open.Rows(); n != 8 {
		t.Errorf("the block has %d rows, want 8", n)
	}
	want := []Proof{
		{Shard: 0, Proven: 8, Totals: Totals{In: 19, Rows: 16, Dead: 2, Repeats: 1}},
		{Shard: 2, Proven: 2, Totals: Totals{In: 5, Rows: 3, Dead: 2}},
		{Shard: 4},
	}
	before := Record{Shards: r.Shards, Open: r.Open}
	if got := r.After(); !reflect.DeepEqual(got, want) {
		t.Errorf("after the proof %+v, want %+v", got, want)
	}
	if r.Shards[0].Proven != 5 || !reflect.DeepEqual(before.Shards, r.Shards) {
		t.Errorf("the record itself has changed: %+v", r)
	}
	for shard, known := range map[int]uint64{0: 8, 2: 2, 4: 0, 6: 0} {
		s := r.Share(shard)
		if s.Known() != known || s.Shard != shard || s.Incarnation != 9 || s.Revision != 4 {
			t.Errorf("shard %d: %+v knows frame %d, want %d", shard, s, s.Known(), known)
		}
	}
}

// A ledger of one record a shard, as there was before sinks, is not misread as
// one in which nothing is proven.
func TestAnOlderLedgerIsRefused(t *testing.T) {
	old := `{"incarnation":1700000000000,"shard":0,"proven":7,"totals":{"in":9,"rows":9,"dead":0,"repeats":0},"owner":"a","at":"2026-01-01T00:00:00Z"}`
	if rec, err := DecodeRecord([]byte(old)); !errors.Is(err, ErrOldLedger) {
		t.Errorf("an older record is read as %+v, %v", rec, err)
	}
	js := newLeaseRig(t).js()
	if _, err := Provision(t.Context(), js, testNames, plan()); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), testNames.Ledger(0), []byte(old)); err != nil {
		t.Fatal(err)
	}
	ledger, err := js.Stream(t.Context(), testNames.StreamLedger())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := LedgerLast(t.Context(), ledger, testNames, 0); !errors.Is(err, ErrOldLedger) {
		t.Errorf("an older ledger: %v", err)
	}
	// Its streams say nothing of sinks.
	s, err := js.Stream(t.Context(), testNames.StreamRaw(0))
	if err != nil {
		t.Fatal(err)
	}
	relabel := func(change func(map[string]string)) {
		cfg := s.CachedInfo().Config
		cfg.Metadata = maps.Clone(cfg.Metadata)
		change(cfg.Metadata)
		if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	relabel(func(m map[string]string) { delete(m, metaSinks) })
	if _, err := Open(t.Context(), js, testNames); !errors.Is(err, ErrOldLedger) {
		t.Errorf("an older installation is opened: %v", err)
	}
	if _, err := Provision(t.Context(), js, testNames, plan()); !errors.Is(err, ErrOldLedger) {
		t.Errorf("an older installation is provisioned: %v", err)
	}
	relabel(func(m map[string]string) { m[metaSinks] = "4" })
	if _, err := Open(t.Context(), js, testNames); err == nil || !strings.Contains(err.Error(), metaSinks) {
		t.Errorf("more sinks than shards: %v", err)
	}
}

func TestNoMoreSinksThanShards(t *testing.T) {
	js := newLeaseRig(t).js()
	for _, sinks := range []int{-1, 4} {
		p := plan()
		p.Sinks = sinks
		if _, err := Provision(t.Context(), js, testNames, p); err == nil || !strings.Contains(err.Error(), "sinks") {
			t.Errorf("%d sinks for 3 shards: %v", sinks, err)
		}
	}
	if _, err := js.Stream(t.Context(), testNames.StreamRaw(0)); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("streams were made: %v", err)
	}
}
