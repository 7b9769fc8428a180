package compat

import (
	"context"
	"strconv"
	"testing"
	"time"
)

// Events are sent through an outage until somebody says that it is over.

// between two events. In an outage of 20 s it makes some hundreds.
const between = 50 * time.Millisecond

func user(n int) string { return "u" + strconv.Itoa(n%7) }

// tick sends event 0, 1, ... until somebody says until, and returns how many
// the SDK took.
func tick(until <-chan struct{}, send func(n int) error, t testing.TB) (n int) {
	t.Helper()
	ticker := time.NewTicker(between)
	defer ticker.Stop()
	for {
		select {
		case <-until:
			return n
		case <-ticker.C:
		}
		if err := send(n); err != nil {
			t.Errorf("event %d: %v", n, err)
			return n
		}
		n++
	}
}

// waitDelivered waits until an SDK has called back for n messages.
func waitDelivered[M any](t testing.TB, d *delivered[M], n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !d.done(n) {
		select {
		case <-ctx.Done():
			t.Errorf("the SDK has delivered %d of %d a minute after the outage", len(d.messages(t)), n)
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
	d.messages(t) // says whether it gave up
}
