package indexer

import (
	"slices"
	"testing"
	"time"

	"github.com/millrace/millrace/libs/testkit"
)

// What was announced after ClickHouse was started has come in after that: it is
// not counted, and what a user deletes of it stays away.
func TestAuditLeavesWhatCameAfterTheStart(t *testing.T) {
	r := newRig(t, 1)
	stop := r.start(r.indexer())
	r.settled(0, r.feed(0, 20, plain))
	stop()
	s, _ := r.twin(r.indexer())
	a := r.auditor(s)
	r.remove(0, 1)
	now, err := a.t.Started(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if now.began.After(time.Now()) || time.Since(now.began) > time.Hour || now.up < startRuns {
		t.Fatalf("ClickHouse has begun at %s and run for %s", now.began, now.up)
	}
	for _, c := range []struct {
		began time.Duration
		want  uint64
	}{{2 * auditSkew, 0}, {0, 20}} {
		early := now
		early.began = time.Now().Add(-c.began)
		a.round = &round{start: early, told: map[string]bool{}}
		if whole, err := a.try(t.Context()); !whole || err != nil {
			t.Fatal(whole, err)
		}
		if n := r.rows(); n != c.want {
			t.Errorf("ClickHouse has begun %s ago: %d rows, want %d", c.began, n, c.want)
		}
	}
}

func TestAnnounced(t *testing.T) {
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		at   []time.Duration
		want []time.Duration
	}{
		"an outage of hours takes nothing away": {[]time.Duration{-time.Minute, 5 * time.Hour}, []time.Duration{-time.Minute}},
		"an hour before the last that counts":   {[]time.Duration{-2 * time.Hour, -70 * time.Minute, -30 * time.Minute}, []time.Duration{-70 * time.Minute, -30 * time.Minute}},
		"all is younger":                        {[]time.Duration{time.Second, time.Minute}, nil},
		"a clock that was ahead for a while":    {[]time.Duration{-2 * time.Minute, time.Hour, -time.Minute, time.Minute}, []time.Duration{-2 * time.Minute, time.Hour, -time.Minute}},
		"nothing":                               {nil, nil},
	} {
		var list []audited
		for _, d := range c.at {
			list = append(list, audited{at: noon.Add(d)})
		}
		var got []time.Duration
		for _, x := range announced(list, noon) {
			got = append(got, x.at.Sub(noon))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestStartsAreToldApartOnceClickHouseHasRunForAWhile(t *testing.T) {
	r := newRig(t, 1)
	s, _ := r.twin(r.indexer())
	a := &auditor{s: s, t: s.dial()}
	t.Cleanup(a.t.close)
	for range 2 {
		if err := r.db.Kill(); err != nil {
			t.Fatal(err)
		}
		r.db.Start()
		testkit.Eventually(t, "the start is audited", func() bool {
			r.look(a)
			return a.round == nil
		})
		if up := r.db.Count("SELECT toUInt64(uptime())"); up < 3 {
			t.Fatalf("audited after %d s", up)
		}
	}
	if len(a.seen) != 2 {
		t.Errorf("audited were the starts %v, want two", a.seen)
	}
}

// A replica may lag behind the one that has started.
func TestReplicatedTablesAreNotAudited(t *testing.T) {
	for engine, want := range map[string]bool{"MergeTree": false, "ReplicatedMergeTree": true, "SharedMergeTree": true, "ReplacingMergeTree": false} {
		if replicated(engine) != want {
			t.Errorf("%s is replicated: %v", engine, !want)
		}
	}
	r := newRig(t, 1)
	tab := r.indexer().newTable()
	defer tab.close()
	if engine, err := tab.Engine(t.Context()); engine != "MergeTree" || err != nil {
		t.Errorf("the engine is %q: %v", engine, err)
	}
}
