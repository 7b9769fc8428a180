package testkit

import (
	"testing"
	"time"
)

// Eventually waits until ok, and fails the test with what describes if that
// takes longer than a minute: long enough for any loaded machine, and never
// waited for in full by a test that passes.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
