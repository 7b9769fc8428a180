package indexer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/testkit"
)

// losePart kills ClickHouse, removes the youngest part of events, as a power
// loss without fsync does with parts that were acknowledged, and starts it.
func (r *rig) losePart() {
	r.Helper()
	if err := r.db.Kill(); err != nil {
		r.Fatal(err)
	}
	parts, err := filepath.Glob(filepath.Join(r.db.DataDir(), "store", "*", "*", "[0-9]*_*_*_0"))
	if err != nil {
		r.Fatal(err)
	}
	sort.Slice(parts, func(i, j int) bool { return modified(parts[i]) < modified(parts[j]) })
	lost := ""
	for _, p := range parts {
		if holdsEvents(p) {
			lost = p
		}
	}
	if lost == "" {
		r.Fatalf("no part to remove among %v", parts)
	}
	if err := os.RemoveAll(lost); err != nil {
		r.Fatal(err)
	}
	r.db.Start()
}

func modified(path string) int64 {
	st, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return st.ModTime().UnixNano()
}

// auditor is one of a sink that was taken over and does nothing else. Its
// ClickHouse has run long enough to be audited.
func (r *rig) auditor(s *sink) *auditor {
	r.Helper()
	a := &auditor{s: s, t: s.dial()}
	r.Cleanup(a.t.close)
	r.runs()
	return a
}

func (r *rig) runs() {
	r.Helper()
	testkit.Eventually(r, "ClickHouse has run for a while", func() bool { return r.db.Count("SELECT toUInt64(uptime())") >= 3 })
}

// look looks once, without a delay.
func (r *rig) look(a *auditor) {
	r.Helper()
	if a.round != nil {
		a.round.next = time.Time{}
	}
	if err := a.look(r.Context()); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) rows() uint64 { return r.db.Count("SELECT count() FROM events") }

// remove deletes the rows of a frame, as nobody but a test or a user does.
func (r *rig) remove(shard, seq int) {
	r.Helper()
	r.db.Exec(fmt.Sprintf("ALTER TABLE millrace.events DELETE WHERE _shard = %d AND _seq = %d SETTINGS mutations_sync = 2", shard, seq))
}

// outcomes are the audits of an indexer by their outcome.
func outcomes(x *Indexer) map[string]float64 {
	all := map[string]float64{}
	for _, o := range []string{"ok", "repaired", "gone", "doubled", "failed"} {
		if n := testutil.ToFloat64(x.metrics.audits.WithLabelValues(o)); n > 0 {
			all[o] = n
		}
	}
	return all
}

// ClickHouse comes up without a part that it had acknowledged, and knows its
// token: the rows come back without anybody's help, once, while the flow goes
// on.
func TestAuditBringsBackWhatClickHouseLost(t *testing.T) {
	r := newRig(t, 2)
	x := r.indexer()
	r.start(x)
	for range 4 {
		last := r.feed(0, 20, plain)
		r.feed(1, 10, plain)
		r.settled(0, last)
		r.settled(1, last)
	}
	before := r.rows()
	r.runs()
	r.losePart()
	if now := r.rows(); now >= before {
		t.Fatalf("%d rows before, %d after a part was removed", before, now)
	}
	var last uint64
	testkit.Eventually(t, "the rows are there again", func() bool {
		last = r.feed(0, 20, plain)
		r.feed(1, 10, plain)
		return outcomes(x)["repaired"] == 1
	})
	r.settled(0, last)
	r.settled(1, last)
	r.exact(0, 0)
	r.exact(1, 0)
	if n := testutil.ToFloat64(x.metrics.auditInserted); n == 0 {
		t.Error("no row is counted as brought back")
	}
}

// The same while no indexer runs: the next owner finds it.
func TestAuditAtTakeover(t *testing.T) {
	r := newRig(t, 1)
	stop := r.start(r.indexer())
	for range 3 {
		r.settled(0, r.feed(0, 20, plain))
	}
	stop()
	before := r.rows()
	r.losePart()
	r.start(r.indexer())
	testkit.Eventually(t, "the rows are there again", func() bool { return r.rows() == before })
	r.exact(0, 0)
}

// What ENRICHED no longer holds is told and counted, and the shard works on.
func TestAuditNamesWhatIsGone(t *testing.T) {
	r := newRig(t, 1)
	x := r.indexer()
	stop := r.start(x)
	var last uint64
	for range 3 {
		last = r.feed(0, 20, plain)
		r.settled(0, last)
	}
	stop()
	if err := bus.Purge(t.Context(), r.js, r.inst.Names.StreamEnriched(0), last+1); err != nil {
		t.Fatal(err)
	}
	r.losePart()
	y := r.indexer()
	r.start(y)
	testkit.Eventually(t, "the loss is counted", func() bool { return testutil.ToFloat64(y.metrics.auditGone) == 20 })
	r.settled(0, r.feed(0, 20, plain))
}

// More rows than were sent are an alarm, once, and the sink goes on. What
// another range lacks is found although the sums agree.
func TestAuditTellsOfASurplusAndGoesOn(t *testing.T) {
	r := newRig(t, 1)
	stop := r.start(r.indexer())
	for range 3 {
		r.settled(0, r.feed(0, 1, plain))
	}
	stop()
	r.db.Exec("INSERT INTO events SELECT * FROM events WHERE _seq = 1 SETTINGS insert_deduplicate = 0")
	r.remove(0, 2)
	x := r.indexer()
	s, _ := r.twin(x)
	a := r.auditor(s)
	for range 2 {
		r.look(a)
	}
	if n := r.db.Count("SELECT count() FROM events WHERE _seq = 2"); n != 1 {
		t.Errorf("frame 2 has %d rows, want 1", n)
	}
	if n := testutil.ToFloat64(x.metrics.doubled); n != 1 || outcomes(x)["doubled"] != 1 {
		t.Errorf("%v alarms of a range with too many rows, outcomes %v", n, outcomes(x))
	}
}

// ClickHouse acknowledges a block and loses it, and only when it is up again
// and was audited comes the record that calls the block proven.
func TestAuditWaitsForTheProofOfABlockThatWasOpen(t *testing.T) {
	r := newRig(t, 1)
	x := r.indexer()
	r.feed(0, 20, plain)
	s, c := r.twin(x)
	intent, rows := r.collected(s, 1, 1)
	if err := c.commit(t.Context(), intent, rows); err != nil {
		t.Fatal(err)
	}
	r.losePart()
	a := r.auditor(s)
	for range 2 {
		r.look(a)
		if a.round == nil || !s.auditing.Load() {
			t.Fatal("the audit has come to its end before the block is proven")
		}
	}
	if n := r.rows(); n != 0 {
		t.Fatalf("%d rows of a block that is the committer's", n)
	}
	if err := c.close(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.look(a)
	r.exact(0, 0)
	if a.round != nil || s.auditing.Load() || outcomes(x)["repaired"] != 1 {
		t.Errorf("the audit has not come to its end: outcomes %v", outcomes(x))
	}
}

// An audit that fails holds trimming for a while, whatever went before it; its
// delay grows.
func TestAuditHoldsTrimmingForAWhile(t *testing.T) {
	r := newRig(t, 1)
	stop := r.start(r.indexer())
	r.settled(0, r.feed(0, 20, plain))
	stop()
	s, _ := r.twin(r.indexer())
	a := r.auditor(s)
	r.remove(0, 1)
	if err := r.js.DeleteStream(t.Context(), r.inst.Names.StreamRaw(0)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []time.Duration{10, 20, 40, 60, 60} {
		r.look(a)
		if got := a.round.pause; got != want*time.Second {
			t.Errorf("after a failure the next delay is %s, want %ds", got, want)
		}
	}
	if left := time.Until(a.round.next); left < 30*time.Second || !s.auditing.Load() {
		t.Errorf("the next try is in %s, trimming waits: %v", left, s.auditing.Load())
	}
	a.round.since = a.round.since.Add(-holdTrim)
	if r.look(a); s.auditing.Load() {
		t.Error("nothing is trimmed although the audit fails all the time")
	}
	a.round.start.at -= 5 // as if ClickHouse had been started anew
	if r.look(a); !s.auditing.Load() || a.round.pause != 2*auditEvery {
		t.Errorf("the audit of another start: trimming waits %v, the delay is %s", s.auditing.Load(), a.round.pause)
	}
}

// A sink of a fenced owner ends, and that of one that is asked to go.
func TestAuditsEnd(t *testing.T) {
	r := newRig(t, 1)
	s, _ := r.twin(r.indexer())
	r.runs()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.audits(ctx) }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("audits end with %v", err)
	}
	r.twin(r.indexer())
	if err := s.audits(t.Context()); !errors.Is(err, bus.ErrFenced) {
		t.Errorf("the audits of an owner that was taken over end with %v", err)
	}
}
