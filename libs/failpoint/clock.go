//go:build failpoint

package failpoint

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// Now is the time of the injected clock, without a monotonic reading if there
// is one; else it is time.Now.
func Now() time.Time {
	offset := shift.Load()
	if offset == nil {
		return time.Now()
	}
	return time.Now().Add((*offset)()).Round(0)
}

// Since is Now less t.
func Since(t time.Time) time.Duration { return Now().Sub(t) }

// Until is t less Now.
func Until(t time.Time) time.Duration { return t.Sub(Now()) }

// readEvery is how old the file's duration may be.
const readEvery = 50 * time.Millisecond

// clockFile holds the duration that is added to the clock.
type clockFile struct {
	path string

	mu   sync.Mutex // guards both
	last time.Duration
	at   time.Time
}

func (f *clockFile) offset() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.at) >= readEvery {
		// What is just being written, or was removed, does not move the clock.
		_ = f.read()
	}
	return f.last
}

func (f *clockFile) read() error {
	f.at = time.Now()
	text, err := os.ReadFile(f.path)
	if err != nil {
		return err
	}
	d, err := time.ParseDuration(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	f.last = d
	return nil
}
