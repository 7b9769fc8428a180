package enricher

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event"
	"github.com/millrace/millrace/libs/svc"
)

// childURL names the NATS server to a process of this test that is an enricher
// until it is killed.
const childURL = "ENRICHER_TEST_CHILD"

func TestMain(m *testing.M) {
	url := os.Getenv(childURL)
	if url == "" {
		os.Exit(m.Run())
	}
	e, err := New(Config{
		Bus: bus.Config{URL: url}, LeaseTTL: time.Second, Health: svc.NewHealth(), Reg: prometheus.NewRegistry(),
		Log: slog.New(slog.DiscardHandler),
	})
	if err == nil {
		err = e.Run(context.Background())
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func TestKilledAgainAndAgainItAnswersEverythingOnce(t *testing.T) {
	r := newRig(t, 1)
	const kills, perLife = 5, 400
	n := 0
	for life := range kills {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), childURL+"="+r.url)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		from := r.last(r.inst.Names.StreamEnriched(0))
		for range perLife {
			r.raw(0, sent{body: track(fmt.Sprint("m", n), "u")}, sent{body: track(fmt.Sprint("m", n/2), "u")}, sent{body: "x", reason: "malformed"})
			n++
		}
		// At another point of its life each time.
		r.answered(0, from+uint64(1+life*perLife/kills))
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed, as asked
	}
	r.enricher()
	r.answered(0, uint64(n))
	for _, a := range r.answers(0) {
		if a.verdict.Rows != 1 || a.verdict.Repeats != 1 || a.verdict.Dead() != 1 {
			t.Fatalf("frame %d: %+v", a.seq, a.verdict)
		}
	}
	eventually(t, "all dead letters are out", func() bool { return len(r.dead()) == n })
}

func (r *rig) leases() jetstream.KeyValue {
	r.t.Helper()
	kv, err := r.js.KeyValue(r.t.Context(), r.inst.Names.BucketLeases())
	if err != nil {
		r.t.Fatal(err)
	}
	return kv
}

func TestDeathsAreCountedOnlyWhereTheyAreDeaths(t *testing.T) {
	r := newRig(t, 1)
	kv := r.leases()
	owner := func(process string) *crashLog {
		return &crashLog{kv: kv, key: r.inst.Names.KeyCrash(0), process: process}
	}
	begin := func(c *crashLog, seq uint64, waiting bool, count int) {
		t.Helper()
		if err := c.begin(t.Context(), seq, 0, waiting); err != nil {
			t.Fatal(err)
		}
		if c.record.Count != count || c.record.Seq != seq {
			t.Fatalf("%+v, want count %d at %d", c.record, count, seq)
		}
	}
	begin(owner("a"), 5, false, 0) // an idle shard
	begin(owner("b"), 5, false, 0)
	a := owner("a")
	begin(a, 5, true, 1)
	begin(a, 5, true, 1) // it lost the shard and has it again
	if err := a.left(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	begin(owner("b"), 5, true, 1) // a went in order
	c := owner("c")
	begin(c, 5, true, 2) // b died
	if c.careful() == 0 || c.isolate(t.Context(), 5) != nil {
		t.Error("the second owner should be careful and no more")
	}
	begin(owner("d"), 6, true, 1) // c answered it

	e := owner("e")
	begin(e, 6, true, 2)
	f := owner("f")
	begin(f, 6, true, 3)
	if f.isolate(t.Context(), 7) != nil {
		t.Error("another frame is isolated")
	}
	f.isolate(t.Context(), 6)(0)
	f.isolate(t.Context(), 6)(9) // and dies here
	g := owner("g")
	begin(g, 6, true, 4)
	if len(g.deadly()) != 0 || g.record.Suspect != 9 {
		t.Errorf("%+v: one death proves nothing", g.record)
	}
	g.isolate(t.Context(), 6)(9)
	h := owner("h")
	begin(h, 6, true, 5)
	if !h.deadly()[place{6, 9}] || len(h.deadly()) != 1 {
		t.Errorf("%+v", h.record)
	}
	i := owner("i")
	begin(i, 7, true, 1)
	if !i.deadly()[place{6, 9}] {
		t.Error("a deadly event inside the window is forgotten")
	}
	if err := i.begin(t.Context(), 8, 7, true); err != nil || len(i.deadly()) != 0 {
		t.Errorf("%+v: a deadly event outside the window is kept", i.record)
	}
}

func TestAnEventThatKillsIsRefusedAndItsNeighboursAreNot(t *testing.T) {
	r := newRig(t, 1)
	seq := r.raw(0, sent{body: track("a", "u")}, sent{body: track("b", "u")}, sent{body: track("c", "u")})
	text, err := json.Marshal(crashRecord{Seq: seq, Count: 4, Process: "dead", Idx: 1, Suspect: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.leases().Put(t.Context(), r.inst.Names.KeyCrash(0), text); err != nil {
		t.Fatal(err)
	}
	x := r.enricher()
	r.answered(0, seq)
	if died := x.metric("frame_deaths", "0"); died != 4 {
		t.Errorf("%v processes died at the frame as the metric says, want those that did so before this one", died)
	}
	v := r.answers(0)[0].verdict
	if v.Rows != 2 || v.Dead() != 1 || v.Refused[0].First != 1 || v.Refused[0].Reason != string(event.ReasonCrash) {
		t.Errorf("%+v", v)
	}
	eventually(t, "it is a dead letter", func() bool { return len(r.dead()) == 1 })
	for _, d := range r.dead() {
		if string(d.Original) != track("b", "u") || d.Reason != string(event.ReasonCrash) {
			t.Errorf("%+v", d)
		}
	}
	x.end()
	r.enricher()
	seq = r.raw(0, sent{body: track("a", "u")}, sent{body: track("c", "u")})
	r.answered(0, seq)
	if a := r.answers(0)[1]; a.verdict.Repeats != 2 {
		t.Errorf("after the window was read back: %+v", a.verdict)
	}
}
