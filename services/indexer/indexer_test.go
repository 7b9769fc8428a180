package indexer

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/testkit"
)

func TestFramesBecomeRows(t *testing.T) {
	r := newRig(t, 2)
	r.start(r.indexer())
	for range 20 {
		r.feed(0, 10, plain)
		r.feed(1, 3, plain)
	}
	last := r.feed(0, 0, plain) // a frame of nothing but a repeat and a refusal
	r.settled(0, last)
	r.settled(1, 20)
	r.exact(0, 0)
	r.exact(1, 0)
}

func TestTwoIndexersShareTheShardsAndOneTakesOver(t *testing.T) {
	r := newRig(t, 4)
	r.start(r.indexer())
	stopSecond := r.start(r.indexer())
	for range 10 {
		for shard := range 4 {
			r.feed(shard, 5, plain)
		}
	}
	for shard := range 4 {
		r.settled(shard, 10)
	}
	owners := map[string]bool{}
	testkit.Eventually(t, "both own shards", func() bool {
		for shard := range 4 {
			r.feed(shard, 1, plain)
			owners[r.record(shard).Owner] = true
		}
		return len(owners) == 2
	})
	stopSecond()
	for shard := range 4 {
		r.settled(shard, r.feed(shard, 5, plain))
		r.exact(shard, 0)
	}
}

func TestClickHouseKilledWhileRowsGoIn(t *testing.T) {
	r := newRig(t, 1)
	r.start(r.indexer())
	var last uint64
	for round := range 3 {
		for range 30 {
			last = r.feed(0, 50, plain)
		}
		if round < 2 {
			if err := r.db.Kill(); err != nil {
				t.Fatal(err)
			}
			last = r.feed(0, 50, plain)
			r.db.Start()
		}
	}
	r.settled(0, last)
	r.exact(0, 0)
}

func TestNATSStoppedWhileRowsGoIn(t *testing.T) {
	r := newRig(t, 1)
	r.start(r.indexer())
	for range 10 {
		r.feed(0, 50, plain)
	}
	r.nats.Stop()
	r.nats.Start()
	testkit.Eventually(t, "the test's own connection is back", func() bool {
		_, err := bus.Open(t.Context(), r.js, r.inst.Names)
		return err == nil
	})
	last := r.feed(0, 50, plain)
	r.settled(0, last)
	r.exact(0, 0)
}

// The token of a block is noted and its part is gone, as after a kill between
// the two: what a sink that trusts the token never notices.
func TestOrphanTokenIsRepaired(t *testing.T) {
	r := newRig(t, 1)
	stop := r.start(r.indexer())
	r.settled(0, r.feed(0, 100, plain))
	stop()
	// The same block is open again, as if the indexer had died before its proof.
	rec := r.record(0)
	ledger, err := r.js.Stream(t.Context(), r.inst.Names.StreamLedger())
	if err != nil {
		t.Fatal(err)
	}
	open := rec
	open.Proven, open.Totals, open.Open = 0, bus.Totals{}, &bus.Intent{First: 1, Last: 1, Totals: r.sent[0]}
	if err := bus.LedgerAppend(t.Context(), r.js, ledger, r.inst.Names, &open, rec.Revision); err != nil {
		t.Fatal(err)
	}
	if err := r.db.Kill(); err != nil {
		t.Fatal(err)
	}
	parts, err := filepath.Glob(filepath.Join(r.db.DataDir(), "store", "*", "*", "[0-9]*_1_1_0"))
	if err != nil || len(parts) == 0 {
		t.Fatalf("no part to remove below %s: %v", r.db.DataDir(), err)
	}
	removed := 0
	for _, p := range parts {
		if cols, _ := filepath.Glob(filepath.Join(p, "*")); len(cols) > 0 && holdsEvents(p) {
			if err := os.RemoveAll(p); err != nil {
				t.Fatal(err)
			}
			removed++
		}
	}
	if removed != 1 {
		t.Fatalf("removed %d parts of events among %v, want 1", removed, parts)
	}
	r.db.Start()
	if n := r.db.Count("SELECT count() FROM events"); n != 0 {
		t.Fatalf("%d rows are left after their part was removed", n)
	}
	r.start(r.indexer())
	r.settled(0, r.feed(0, 10, plain))
	r.exact(0, 0)
}

func holdsEvents(part string) bool {
	text, err := os.ReadFile(filepath.Join(part, "columns.txt"))
	return err == nil && strings.Contains(string(text), "`properties_num`")
}

func TestARowThatClickHouseRefusesBecomesADeadLetter(t *testing.T) {
	r := newRig(t, 1)
	r.db.Exec("ALTER TABLE millrace.events ADD CONSTRAINT polite CHECK event != 'rude'")
	r.start(r.indexer())
	for k := range 5 {
		r.feed(0, 100, func(i int) string {
			if i == 40 && k%2 == 0 {
				return "rude"
			}
			return plain(i)
		})
	}
	r.settled(0, 5)
	r.exact(0, 3)
	testkit.Eventually(t, "three dead letters in ClickHouse", func() bool {
		return r.db.Count("SELECT count() FROM dead_letters WHERE stage = 'indexer' AND reason = 'row_refused'"+
			" AND original = '{\"event\":\"rude\",\"n\":40}' AND source = 'shop' AND _idx = 40") == 3
	})
}

func TestAPausedTwinIsFenced(t *testing.T) {
	r := newRig(t, 1)
	x := r.indexer()
	r.feed(0, 10, plain)
	first, paused := r.twin(x)
	b, err := first.reread(t.Context(), &bus.Intent{First: 1, Last: 1, Totals: r.sent[0]})
	if err != nil {
		t.Fatal(err)
	}
	// The first has written its intent and sleeps before the insert.
	if err := paused.append(t.Context(), &bus.Intent{First: 1, Last: 1, Totals: b.totals}); err != nil {
		t.Fatal(err)
	}
	_, second := r.twin(x)
	if got, _ := second.state(); got != 1 {
		t.Fatalf("the second settled up to %d, want 1", got)
	}
	// It wakes up: its insert is swallowed by the token, its next intent refused.
	if err := paused.settle(t.Context(), b.rows, true); err != nil {
		t.Fatal(err)
	}
	if err := paused.commit(t.Context(), b); !errors.Is(err, bus.ErrFenced) {
		t.Fatalf("a paused twin's next intent: %v, want it fenced", err)
	}
	if err := second.close(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.exact(0, 0)
}

// A process that was suspended between its intent and its insert comes back
// after ClickHouse has forgotten the token.
func TestATwinThatSleptLongerThanTheTokenIsKnownDoublesNothing(t *testing.T) {
	r := newRig(t, 1)
	r.db.Exec("ALTER TABLE millrace.events MODIFY SETTING non_replicated_deduplication_window = 1")
	x := r.indexer()
	r.feed(0, 10, plain)
	first, paused := r.twin(x)
	b, err := first.reread(t.Context(), &bus.Intent{First: 1, Last: 1, Totals: r.sent[0]})
	if err != nil {
		t.Fatal(err)
	}
	if err := paused.append(t.Context(), &bus.Intent{First: 1, Last: 1, Totals: b.totals}); err != nil {
		t.Fatal(err)
	}
	other, second := r.twin(x) // settles frame 1
	before := r.sent[0]
	r.feed(0, 10, plain)
	after := bus.Totals{In: r.sent[0].In - before.In, Rows: r.sent[0].Rows - before.Rows, Dead: r.sent[0].Dead - before.Dead, Repeats: r.sent[0].Repeats - before.Repeats}
	next, err := other.reread(t.Context(), &bus.Intent{First: 2, Last: 2, Totals: after})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.commit(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	paused.ours = time.Now().Add(-time.Minute) // it wakes up
	if err := paused.settle(t.Context(), b.rows, true); !errors.Is(err, bus.ErrFenced) {
		t.Errorf("a twin that slept a minute: %v, want it fenced", err)
	}
	if err := second.close(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.exact(0, 0)
}

func TestAShardStaysShutWhenSomethingWentBack(t *testing.T) {
	r := newRig(t, 1)
	stop := r.start(r.indexer())
	r.settled(0, r.feed(0, 10, plain))
	stop()
	js, names := r.js, r.inst.Names
	shut := func(what string) {
		t.Helper()
		x := r.indexer()
		done := r.start(x)
		testkit.Eventually(t, what+" keeps the shard shut and says so", func() bool {
			err := x.check()
			return err != nil && strings.Contains(err.Error(), "millrace recover")
		})
		done()
		if n := r.db.Count("SELECT count() FROM events"); n != r.sent[0].Rows {
			t.Errorf("%s: %d rows", what, n)
		}
	}
	// ClickHouse has rows that the ledger does not know.
	rec := r.record(0)
	ledger, err := js.Stream(t.Context(), names.StreamLedger())
	if err != nil {
		t.Fatal(err)
	}
	older := rec
	older.Proven, older.Totals = 0, bus.Totals{}
	if err := bus.LedgerAppend(t.Context(), js, ledger, names, &older, rec.Revision); err != nil {
		t.Fatal(err)
	}
	shut("an older ledger")
	// The ledger knows frames that ENRICHED does not have.
	newer := r.record(0)
	newer.Proven = 99
	if err := bus.LedgerAppend(t.Context(), js, ledger, names, &newer, newer.Revision); err != nil {
		t.Fatal(err)
	}
	shut("a shorter ENRICHED")
}
