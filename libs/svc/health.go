package svc

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// checkTimeout bounds one readiness check. It is below the second that
// Kubernetes gives a probe by default.
const checkTimeout = 800 * time.Millisecond

// Health is the list of readiness checks of a process and whether the process
// takes work at all. It is safe for concurrent use.
type Health struct {
	prefix string
	shared *healthState
}

type healthState struct {
	mu     sync.Mutex // guards all below
	phase  phase
	checks []check
}

type check struct {
	name string
	run  func(context.Context) error
}

type phase int

const (
	starting phase = iota
	running
	draining
)

// NewHealth returns a Health that is not ready because it is still starting.
// Run moves it on; whoever does not use Run calls Started and Draining.
func NewHealth() *Health { return &Health{shared: &healthState{}} }

// For returns a view whose checks are named "<service>/<name>", so that
// several services in one process share one admin port.
func (h *Health) For(service string) *Health {
	return &Health{prefix: h.prefix + service + "/", shared: h.shared}
}

// Register adds a readiness check. It must return soon after its context ends
// (800 ms at most after the question); one that does not is reported as
// failed. Checks of the same name are kept side by side.
func (h *Health) Register(name string, run func(context.Context) error) {
	h.shared.mu.Lock()
	defer h.shared.mu.Unlock()
	h.shared.checks = append(h.shared.checks, check{name: h.prefix + name, run: run})
}

// Started says that the services run: from now on their checks decide.
func (h *Health) Started() { h.shared.move(running) }

// Draining says that the process is about to stop. There is no way back.
func (h *Health) Draining() { h.shared.move(draining) }

func (s *healthState) move(to phase) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.phase = max(s.phase, to)
}

// CheckResult is the answer of one check; a nil Err is a pass.
type CheckResult struct {
	Name string
	Err  error
}

// Check asks all checks at the same time and returns their answers by name,
// the process's own state first. ready is false if any of them failed.
func (h *Health) Check(ctx context.Context) (results []CheckResult, ready bool) {
	h.shared.mu.Lock()
	checks := slices.Clone(h.shared.checks)
	process := CheckResult{Name: "process"}
	switch h.shared.phase {
	case starting:
		process.Err = errors.New("starting")
	case draining:
		process.Err = errors.New("draining")
	}
	h.shared.mu.Unlock()

	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	answers := make([]chan error, len(checks))
	for i, c := range checks {
		// Buffered: a check that answers too late must not wait for a reader.
		answers[i] = make(chan error, 1)
		go func() { answers[i] <- c.run(ctx) }()
	}
	for i, c := range checks {
		r := CheckResult{Name: c.name}
		select {
		case r.Err = <-answers[i]:
		case <-ctx.Done():
			select {
			case r.Err = <-answers[i]:
			default:
				r.Err = errors.New("no answer in time")
			}
		}
		results = append(results, r)
	}
	slices.SortStableFunc(results, func(a, b CheckResult) int { return cmp.Compare(a.Name, b.Name) })
	results = append([]CheckResult{process}, results...)
	ready = !slices.ContainsFunc(results, func(r CheckResult) bool { return r.Err != nil })
	return results, ready
}
