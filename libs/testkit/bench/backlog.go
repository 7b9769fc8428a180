package main

import (
	"context"
	"fmt"
	"time"
)

// backlogTimes is how many times the events of an ordinary run wait.
const backlogTimes = 5

// backlogChunk bounds what the generator holds in memory.
const backlogChunk = 250_000

// backlog lets events pile up in the logs while enricher and indexer are away,
// starts these two, and measures how fast they drain it and what memory they
// take: it must not grow with what waits.
func (b *bench) backlog(ctx context.Context, times int, name string) (result, error) {
	events := times * b.events
	w := way{part: "backlog", kind: fmt.Sprintf("%dx", times), x: float64(events), events: events, size: usualSize, durability: "process"}
	r := w.result(b)
	m, err := b.split(ctx, splitConfig{late: true})
	if err != nil {
		return r, err
	}
	b.learn(ctx, m.in)
	if err := r.drain(ctx, m, name); err != nil {
		m.kill()
		return r, fmt.Errorf("%w; its files are in %s", err, m.in.dir)
	}
	return r, m.stop()
}

// drain fills the logs, starts the late services and takes the figures from
// there.
func (r *result) drain(ctx context.Context, m *splitMill, name string) error {
	g := newGenerator(name, 1, usualSize)
	receipt := ""
	for sent := 0; sent < r.Events; {
		l := g.load(min(backlogChunk, r.Events-sent), 100)
		var err error
		if receipt, err = overNATS(batchPending)(ctx, m.in, l); err != nil {
			return err
		}
		sent += l.events
	}
	before, began := cpuOf(m.in.stages), time.Now()
	for _, late := range []string{"enricher", "indexer"} {
		if err := m.service(ctx, late); err != nil {
			return err
		}
	}
	watch := watchMemory(m.in.stages)
	defer watch.end()
	at, err := m.in.arrived(ctx, receipt, r.Events)
	if err != nil {
		return err
	}
	seconds := at.Sub(began).Seconds()
	m.in.quiet(ctx)
	after := cpuOf(m.in.stages)
	if err := m.in.exact(ctx, r.Events); err != nil {
		return err
	}
	r.price(m.in.stages, before, after)
	r.Figures[figRate] = float64(r.Events) / seconds
	watch.figures(r)
	r.Memory = watch.curve(60)
	for _, p := range r.Memory {
		if p.Seconds < seconds/2 {
			r.Figures[figMemoryHalf] = max(r.Figures[figMemoryHalf], p.Services)
		}
	}
	return nil
}
