package compat

import (
	"errors"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The Go SDKs of Segment, RudderStack and PostHog are built alike: Enqueue,
// Close, and a callback for each message that is delivered or given up.

// rich are values of every kind, as in node/rich.mjs.
func rich() map[string]any {
	return map[string]any{
		"text": "ordinary", "empty": "", "unicode": "žluťoučký kůň 🐎 \u2028 \"quoted\" <b>&amp;</b> \\ \t",
		"int": 42, "negative": int8(-7), "float": 0.1, "large": int64(1<<53 - 1), "largest": uint64(1<<64 - 1), "tiny": 1e-9, "huge": 1e21,
		"yes": true, "no": false, "nothing": nil,
		"list":   []any{1, "two", nil, map[string]any{"three": []float64{3.5}}},
		"nested": map[string]any{"a": map[string]any{"b": []any{map[string]any{"c": "děti"}}, "d": nil}, "e.f": 1},
		"long":   strings.Repeat("ů", 4000), "a key of words": "yes", "klíč": "unicode",
	}
}

// at is a time that a caller gives.
var at = time.Date(2024, 2, 29, 23, 59, 59, 123_000_000, time.UTC)

// with is the union of fields.
func with(all ...map[string]any) map[string]any {
	sum := map[string]any{}
	for _, m := range all {
		maps.Copy(sum, m)
	}
	return sum
}

// delivered collects what an SDK calls back.
type delivered[M any] struct {
	mu      sync.Mutex
	all     []M
	given   atomic.Int64 // up
	because error
}

// Success implements the SDK's callback.
func (d *delivered[M]) Success(m M) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, m)
}

// Failure implements the SDK's callback.
func (d *delivered[M]) Failure(_ M, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.because = errors.Join(d.because, err)
	d.given.Add(1)
}

func (d *delivered[M]) messages(t testing.TB) []M {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.because != nil {
		t.Errorf("the SDK gave up: %v", d.because)
	}
	return d.all
}

// done says whether n messages have been delivered or given up.
func (d *delivered[M]) done(n int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.all)+int(d.given.Load()) == n
}

// hush is a logger for SDKs that write to standard error.
type hush struct{ testing.TB }

// Logf implements the SDKs' loggers.
func (h hush) Logf(format string, args ...any) { h.TB.Logf(format, args...) }

// Errorf does not fail the test: what an SDK tries again is no error of it.
func (h hush) Errorf(format string, args ...any) { h.TB.Logf(format, args...) }
