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

func TestTwoIndexersShareTheSinksAndOneTakesOver(t *testing.T) {
	r := newRig(t, 4, 2)
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
	testkit.Eventually(t, "both own a sink", func() bool {
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
	r.append(func(rec *bus.Record) {
		rec.Shards[0] = bus.Proof{}
		rec.Open = &bus.Intent{Ranges: []bus.Range{{First: 1, Last: 1, Totals: r.sent[0]}}}
	})
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
	intent, rows := r.collected(first, 1, 1)
	// The first has written its intent and sleeps before the insert.
	if err := paused.append(t.Context(), intent); err != nil {
		t.Fatal(err)
	}
	_, second := r.twin(x)
	if got := second.state()[0].Proven; got != 1 {
		t.Fatalf("the second settled up to %d, want 1", got)
	}
	// It wakes up: its insert is swallowed by the token, its next intent refused.
	if err := paused.settle(t.Context(), rows, true); err != nil {
		t.Fatal(err)
	}
	if err := paused.commit(t.Context(), intent, rows); !errors.Is(err, bus.ErrFenced) {
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
	intent, rows := r.collected(first, 1, 1)
	if err := paused.append(t.Context(), intent); err != nil {
		t.Fatal(err)
	}
	other, second := r.twin(x) // settles frame 1
	r.feed(0, 10, plain)
	further, more := r.collected(other, 2, 2)
	if err := second.commit(t.Context(), further, more); err != nil {
		t.Fatal(err)
	}
	paused.ours = time.Now().Add(-time.Minute) // it wakes up
	if err := paused.settle(t.Context(), rows, true); !errors.Is(err, bus.ErrFenced) {
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
	r.append(func(rec *bus.Record) { rec.Shards[0] = bus.Proof{} })
	shut("an older ledger")
	// The ledger knows frames that ENRICHED does not have.
	r.append(func(rec *bus.Record) { rec.Shards[0].Proven = 99 })
	shut("a shorter ENRICHED")
	r.append(func(rec *bus.Record) { rec.Incarnation++ })
	shut("a ledger of another life")
}
