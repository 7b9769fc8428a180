package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// noDisk is why no disk can be filled here, nil if it can.
var noDisk error

// The test binary is the mill's NATS server too, and starts itself again where
// it can have small disks.
func TestMain(m *testing.M) {
	natsdIfAsked()
	done, why, err := inSpace(context.Background(), os.Args[1:])
	if done {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			os.Exit(exit.ExitCode())
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if done {
		os.Exit(0)
	}
	noDisk = why
	os.Exit(m.Run())
}

// binaries builds the programs once for all tests.
func binaries(t *testing.T) string {
	t.Helper()
	top, err := root()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "bin")
	if err := build(t.Context(), top, dir, "", programs...); err != nil {
		t.Fatal(err)
	}
	return dir
}

// testMill is a mill of a test, not yet started.
func testMill(t *testing.T) *mill {
	t.Helper()
	m, err := newMill(filepath.Join(t.TempDir(), "mill"), binaries(t), noDisk == nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.stop()
		if !t.Failed() {
			return
		}
		for _, p := range append(m.all(), m.nats) {
			if p != nil {
				t.Logf("the last of %s:\n%s", p.name, p.tail(2000))
			}
		}
	})
	return m
}
