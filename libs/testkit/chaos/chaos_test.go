package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// The short form of `make chaos`: as many faults as go into a minute and a
// half, from a seed that changes only with this line.
func TestShortForm(t *testing.T) {
	s, err := parse([]string{"--duration", "90s", "--seed", "20261123"})
	if err != nil {
		t.Fatal(err)
	}
	s.Bin, s.files = binaries(t), t.TempDir()
	var out bytes.Buffer
	v, err := experiment(t.Context(), s, faults(), noDisk, &out)
	t.Log(out.String())
	if err != nil {
		t.Fatal(err)
	}
	if !v.OK() || v.Accepted == 0 || v.Dead == 0 {
		t.Fatal("the guarantee was broken, or nothing was tried")
	}
	injected := 0
	for _, f := range v.Faults {
		injected += f.Injected
	}
	if injected < 5 {
		t.Errorf("%d faults in %s", injected, s.Duration)
	}
}

// A build that is broken on purpose is told from a good one; the others are
// tried by `make chaos BROKEN=all`.
func TestABrokenBuildIsCaught(t *testing.T) {
	s, err := parse([]string{"--duration", "25s", "--seed", "7"})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	v, err := broken[0].try(t.Context(), s, filepath.Join(t.TempDir(), "bin"), &out)
	t.Log(out.String())
	if err != nil {
		t.Fatal(err)
	}
	if v.OK() || v.Lost == 0 {
		t.Fatal("the build that trusts in the token alone lost nothing")
	}
}

// The edits of all broken builds still fit the code.
func TestBrokenBuildsApply(t *testing.T) {
	top, err := root()
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range broken {
		if _, err := b.overlay(top, t.TempDir()); err != nil {
			t.Error(err)
		}
		if _, err := choose(b.faults); err != nil {
			t.Error(err)
		}
	}
}

// One fault after another has a name of its own, and every one can be asked
// for.
func TestFaultsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range faults() {
		one, err := choose(f.name)
		if err != nil || len(one) != 1 || f.what == "" || f.do == nil || seen[f.name] {
			t.Errorf("fault %q: found %d times, %v", f.name, len(one), err)
		}
		seen[f.name] = true
	}
	if _, err := choose("nonsense"); err == nil {
		t.Error("a fault that is not there was found")
	}
}

// ClickHouse comes long after everything else in life; here it is away from
// the start until events have been accepted.
func TestServicesStartInAnyOrderAndWaitForClickHouse(t *testing.T) {
	m := testMill(t)
	ctx := t.Context()
	log, err := os.Create(filepath.Join(m.dir, "localdb.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if err := m.prepare(ctx, log); err != nil {
		t.Fatal(err)
	}
	if err := m.db.kill(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"indexer", "enricher", "query", "ingester"} {
		if err := m.startService(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.startNATS(); err != nil {
		t.Fatal(err)
	}
	s, err := parse([]string{"--duration", "2s", "--seed", "1"})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	l, err := newLab(s, m, &out)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for l.producers[0].accepted.Load() < 500 && pause(ctx, 20*time.Millisecond) {
		}
		if err := m.db.start(ctx); err != nil {
			t.Error(err)
		}
	}()
	trouble := l.work(ctx, processFaults[:1])
	if v := l.judge(ctx, trouble); !v.OK() {
		v.print(&out, false)
		t.Fatal(out.String())
	}
}
