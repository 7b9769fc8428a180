package bus

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestReconnectingGrows(t *testing.T) {
	for attempt, want := range map[int]time.Duration{
		0: 50 * time.Millisecond, 1: 50 * time.Millisecond, 2: 100 * time.Millisecond, 4: 400 * time.Millisecond, 6: time.Second, 10_000: time.Second,
	} {
		for range 100 {
			if got := reconnectDelay(attempt); got < want/2 || got >= want {
				t.Fatalf("attempt %d waits %s, want %s to %s", attempt, got, want/2, want)
			}
		}
	}
}

func TestOneErrorIsLoggedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r rareErrors
		lines := 0
		for range time.Hour / time.Second {
			for _, text := range []string{"a", "b"} {
				if r.due(text) {
					lines++
				}
			}
			time.Sleep(time.Second)
		}
		if lines != 120 {
			t.Errorf("%d lines in an hour, want 120", lines)
		}
	})
}

// Of errors that differ in numbers alone one is enough, and of kinds that never
// end a hundred.
func TestErrorsThatDifferAreLimitedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r rareErrors
		acks, kinds := 0, 0
		for n := range 10_000 {
			if r.due(fmt.Sprintf("denied: $JS.ACK.IN.ingester.1.%d.%d", n, 7*n)) {
				acks++
			}
			if r.due("kind " + strings.Repeat("x", n)) {
				kinds++
			}
		}
		if acks != 1 || kinds != maxRareErrors-1 {
			t.Errorf("%d lines of one kind, %d of others; want 1 and %d", acks, kinds, maxRareErrors-1)
		}
		time.Sleep(time.Minute)
		if !r.due("something new") {
			t.Error("what was long ago is in the way")
		}
	})
}
