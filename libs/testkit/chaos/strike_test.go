package main

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/millrace/millrace/libs/failpoint"
)

// A single point is found by its whole name, and is no part of its group or of
// all faults.
func TestEveryPointCanBeAskedFor(t *testing.T) {
	for _, point := range failpoint.Names() {
		if one, err := choose("point/" + string(point)); err != nil || len(one) != 1 {
			t.Errorf("%s: found %d times, %v", point, len(one), err)
		}
	}
	if group, err := choose("point"); err != nil || len(group) != len(pointFaults) {
		t.Errorf("the group point has %d faults, %v", len(group), err)
	}
}

// A step that failed must not look like a fault that hit nothing.
func TestWhatFailedIsWorseThanWhatWasMissed(t *testing.T) {
	failed := errors.New("failed")
	for _, tc := range []struct {
		a, b     error
		isMissed bool
	}{
		{missed("a"), nil, true}, {nil, missed("b"), true}, {missed("a"), failed, false}, {failed, missed("b"), false},
	} {
		if err := worse(tc.a, tc.b); err == nil || errors.Is(err, errMissed) != tc.isMissed {
			t.Errorf("%v and %v are %v", tc.a, tc.b, err)
		}
	}
	if err := worse(nil, nil); err != nil {
		t.Error(err)
	}
}

// What was said before does not count.
func TestEarHearsWhatIsNew(t *testing.T) {
	p := &process{name: "indexer-0", log: filepath.Join(t.TempDir(), "log")}
	say := func(text string) {
		t.Helper()
		if err := os.WriteFile(p.log, []byte(p.tail(wholeLog)+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(p.log, []byte("old trouble\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	e := listen(p)
	if e.heard("trouble") {
		t.Error("heard what is old")
	}
	say("new trouble\n")
	if !e.heard("nothing", "trouble") {
		t.Error("not heard what is new")
	}
}

// A full small disk takes nothing more, and room comes back.
func TestDiskIsFullAndFree(t *testing.T) {
	if noDisk != nil {
		return // there is none here
	}
	dir := filepath.Join(t.TempDir(), "disk")
	if err := mount(dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }) // it goes with the namespace anyway
	write := func() error { return os.WriteFile(filepath.Join(dir, "file"), make([]byte, 1<<20), 0o600) }
	if err := fill(dir); err != nil {
		t.Fatal(err)
	}
	if err := write(); err == nil {
		t.Error("a full disk took a file")
	}
	if err := free(dir); err != nil {
		t.Fatal(err)
	}
	if err := write(); err != nil {
		t.Error(err)
	}
}
