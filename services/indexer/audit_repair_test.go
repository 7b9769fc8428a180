package indexer

import (
	"errors"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/millrace/millrace/libs/bus"
)

// An owner that was taken over sends nothing, and what it has on its way is
// what the next one sends.
func TestAuditOfAFencedOwner(t *testing.T) {
	r := newRig(t, 1)
	stop := r.start(r.indexer())
	r.settled(0, r.feed(0, 20, plain))
	stop()
	first, _ := r.twin(r.indexer())
	old := r.auditor(first)
	newest, err := first.newest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	list, err := first.between(t.Context(), 1, &newest)
	if err != nil || len(list) != 1 {
		t.Fatalf("the ledger has proven %+v: %v", list, err)
	}
	rows, err := old.again(t.Context(), &list[0], 1)
	if err != nil {
		t.Fatal(err)
	}
	r.remove(0, 1)
	second, _ := r.twin(r.indexer())
	if err := old.look(t.Context()); !errors.Is(err, bus.ErrFenced) || r.rows() != 0 {
		t.Fatalf("an owner that was taken over audits: %v, %d rows", err, r.rows())
	}
	r.look(r.auditor(second))
	r.exact(0, 0)
	// It was asked for the owner just before it was taken over.
	if err := old.t.Insert(t.Context(), rows, old.token(&list[0], 0)); err != nil {
		t.Fatal(err)
	}
	r.exact(0, 0)
}

// A shard whose logs went back is not written, and those beside it are.
func TestAuditLeavesAShardThatIsShut(t *testing.T) {
	r := newRig(t, 2)
	stop := r.start(r.indexer())
	for range 3 {
		last := r.feed(0, 20, plain)
		r.feed(1, 10, plain)
		r.settled(0, last)
		r.settled(1, last)
	}
	stop()
	x := r.indexer()
	s, _ := r.twin(x)
	a := r.auditor(s)
	r.remove(0, 3)
	r.remove(1, 2)
	r.db.Exec("INSERT INTO events SELECT * FROM events WHERE _shard = 0 AND _seq = 1 AND _idx = 0 SETTINGS insert_deduplicate = 0")
	// The logs of shard 1 were lost, and other events have its numbers.
	for _, name := range []string{r.inst.Names.StreamRaw(1), r.inst.Names.StreamEnriched(1)} {
		stream, err := r.js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.js.DeleteStream(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		if _, err := r.js.CreateStream(t.Context(), stream.CachedInfo().Config); err != nil {
			t.Fatal(err)
		}
	}
	r.feed(1, 10, plain)
	r.feed(1, 10, plain)
	for range 2 {
		r.look(a)
	}
	if n := r.db.Count("SELECT uniqExact(_seq, _idx) FROM events WHERE _shard = 0"); n != 60 {
		t.Errorf("%d rows of the shard beside one that is shut, want 60", n)
	}
	if n := r.db.Count("SELECT count() FROM events WHERE _shard = 1"); n != 20 {
		t.Errorf("%d rows of a shard that is shut, want 20", n)
	}
	if n := testutil.ToFloat64(x.metrics.auditMissing); n != 30 || outcomes(x)["failed"] != 2 {
		t.Errorf("%v rows are missing, outcomes %v", n, outcomes(x))
	}
	if n := testutil.ToFloat64(x.metrics.doubled); n != 1 {
		t.Errorf("%v alarms of a range with too many rows, want one for two tries", n)
	}
	// ENRICHED is as long as before and holds other rows, which RAW does not tell
	// where it is trimmed.
	r.feed(1, 9, plain)
	list := []audited{{Range: bus.Range{Shard: 1, First: 3, Last: 3, Totals: bus.Totals{Rows: 10}}}}
	if _, err := a.again(t.Context(), &list[0], 3); !errors.Is(err, ErrWentBack) {
		t.Errorf("ENRICHED with other rows: %v", err)
	}
}

// The committer brings in a block while it is asked whether the shard may be
// written: its rows are not those of another ledger.
func TestABusyShardMayBeRepaired(t *testing.T) {
	r := newRig(t, 1)
	r.feed(0, 5, plain)
	s, c := r.twin(r.indexer())
	a := &auditor{s: s}
	intent, rows := r.collected(s, 1, 1)
	dial, asked := s.dial, 0
	s.dial = func() *table {
		if asked++; asked == 1 {
			if err := c.commit(t.Context(), intent, rows); err != nil {
				t.Fatal(err)
			}
		}
		return dial()
	}
	if err := a.mayRepair(t.Context(), 0); err != nil || asked != 2 {
		t.Errorf("asked %d times: %v", asked, err)
	}
}
