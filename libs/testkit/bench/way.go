package main

import (
	"context"
	"fmt"
	"strconv"
	"syscall"
	"time"
)

// way is one way through the whole of Millrace: how many events of what kind,
// through which door, into what.
type way struct {
	part       string
	kind       string  // of runs within the part; "" when there is one
	x          float64 // for growth curves
	events     int
	batch      int // events of a body
	size       int // mean bytes of an event
	send       sender
	durability string
	start      func(ctx context.Context) (*installation, error)
}

// run measures one installation from its first event to its last.
func (w way) run(ctx context.Context, b *bench, name, profile string) (result, error) {
	r := w.result(b)
	l := newGenerator(name, 1, w.size).load(w.events, w.batch)
	in, err := w.start(ctx)
	if err != nil {
		return r, err
	}
	b.learn(ctx, in)
	if profile != "" {
		r.Profiled = true
		in.profile(ctx, profile, b.profileLength(w.part))
	}
	if err := r.measure(ctx, in, l, w.send, 0); err != nil {
		in.kill()
		return r, fmt.Errorf("%w; its files are in %s", err, in.dir)
	}
	return r, in.stop()
}

func (w way) result(b *bench) result {
	return result{Part: w.part, Case: w.kind, X: w.x, Events: w.events, EventBytes: w.size, Durability: w.durability, Figures: map[string]float64{}}
}

// measure sends the load, waits until all of it is rows, and takes the figures.
// had is the number of events that the installation has taken before.
func (r *result) measure(ctx context.Context, in *installation, l load, send sender, had int) error {
	rows, err := in.rows(ctx)
	if err != nil {
		return err
	}
	blocks, err := in.blocks(ctx)
	if err != nil {
		return err
	}
	watch := watchMemory(in.stages)
	defer watch.end()
	before, own, began := cpuOf(in.stages), ownCPU(), time.Now()
	receipt, err := send(ctx, in, l)
	if err != nil {
		return err
	}
	own = ownCPU() - own
	at, err := in.arrived(ctx, receipt, rows+l.events)
	if err != nil {
		return err
	}
	// Merges that these rows caused belong to their price.
	in.quiet(ctx)
	after := cpuOf(in.stages)
	newBlocks, err := in.blocks(ctx)
	if err != nil {
		return err
	}
	if err := in.exact(ctx, had+l.events); err != nil {
		return err
	}
	r.price(in.stages, before, after)
	r.Figures[figRate] = float64(l.events) / at.Sub(began).Seconds()
	r.Figures[figGenerator] = own / float64(l.events) * 1e6
	r.Figures[figBlock] = float64(l.events) / max(1, newBlocks-blocks)
	watch.figures(r)
	return nil
}

// price adds what the events cost in CPU time, by process.
func (r *result) price(stages []stage, before, after map[string]float64) {
	total := 0.0
	for _, s := range stages {
		cpu := (after[s.Name] - before[s.Name]) / float64(r.Events) * 1e6
		r.Figures[figCPU+"."+s.Name] = cpu
		total += cpu
	}
	r.Figures[figCPU], r.Figures[figCore] = total, 1e6/total
}

// figures adds the peaks of the memory so far.
func (m *memory) figures(r *result) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r.Figures[figMemory] = m.sum
	for name, mb := range m.peak {
		r.Figures[figMemory+"."+name] = mb
	}
}

// rows that are there now.
func (in *installation) rows(ctx context.Context) (int, error) {
	text, err := in.ask(ctx, "SELECT count() FROM events", "")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(text)
}

// ownCPU is the CPU time of this process in seconds.
func ownCPU() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}
