package svc

import (
	"sync"
	"time"
)

// The log lines of a fault that lasts: the first at once, the next after a
// second, then after twice as long each time up to five minutes. An hour of it
// is about twenty lines, whatever its retries are.
const (
	repeatFirst = time.Second
	repeatLast  = 5 * time.Minute
)

// Repeated says which occurrences of a fault are worth a log line. The zero
// value is ready, and it is safe for concurrent use.
type Repeated struct {
	mu    sync.Mutex // guards all below
	times int
	since time.Time
	pause time.Duration
	next  time.Time
}

// Again counts an occurrence. times is how many there were, and due whether
// this one should be logged.
func (r *Repeated) Again() (times int, due bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.times++
	switch {
	case r.times == 1:
		r.since, r.pause = now, repeatFirst
	case now.Before(r.next):
		return r.times, false
	default:
		r.pause = min(2*r.pause, repeatLast)
	}
	r.next = now.Add(r.pause)
	return r.times, true
}

// Over ends the fault. was is false if there was none.
func (r *Repeated) Over() (times int, lasted time.Duration, was bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.times == 0 {
		return 0, 0, false
	}
	times, lasted = r.times, time.Since(r.since)
	r.times = 0
	return times, lasted, true
}
