package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

const (
	latencyConnections = 64 // requests that can be under way at a time
	rowSamples         = 20 // a second
)

// latency sends single events at a steady rate, open loop: an event's clock
// starts when it was due, so a slow answer cannot hide behind a late send.
func (b *bench) latency(ctx context.Context, name, profile string) (result, error) {
	events := int(b.length.Seconds() * float64(b.rate))
	w := way{part: "latency", events: events, batch: 1, size: usualSize, durability: "process"}
	r := w.result(b)
	l := newGenerator(name, 2, usualSize).load(events, 1)
	in, err := b.up(ctx)
	if err != nil {
		return r, err
	}
	b.learn(ctx, in)
	if profile != "" {
		r.Profiled = true
		in.profile(ctx, profile, b.length-time.Second)
	}
	if err := r.steady(ctx, in, l, b.rate); err != nil {
		in.kill()
		return r, fmt.Errorf("%w; its files are in %s", err, in.dir)
	}
	return r, in.stop()
}

// dueEvent is an event and when it should be sent.
type dueEvent struct {
	body  []byte
	due   time.Time
	watch bool // wait for its row
}

// steady sends the load at a rate and takes the figures.
func (r *result) steady(ctx context.Context, in *installation, l load, rate int) error {
	var (
		mu        sync.Mutex // guards the next four
		door, row []time.Duration
		got       receipts
		failed    error
	)
	fail := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if failed == nil {
			failed = err
		}
	}
	due := make(chan dueEvent, len(l.bodies)) // late events wait here; the sending never does
	var senders, watchers sync.WaitGroup
	for range latencyConnections {
		c, err := in.dial()
		if err != nil {
			return err
		}
		senders.Go(func() { // until due is closed
			defer c.close()
			for e := range due {
				receipt, err := c.send(ctx, e.body)
				answered := time.Now()
				if err != nil {
					fail(err)
					continue
				}
				mu.Lock()
				door = append(door, answered.Sub(e.due))
				mu.Unlock()
				got.add(receipt)
				if e.watch {
					watchers.Go(func() { // until the row is there
						if _, err := in.ask(ctx, "SELECT 1", receipt); err != nil {
							fail(err)
							return
						}
						mu.Lock()
						row = append(row, time.Since(answered))
						mu.Unlock()
					})
				}
			}
		})
	}
	memory := watchMemory(in.stages)
	defer memory.end()
	before, own, began := cpuOf(in.stages), ownCPU(), time.Now()
	for i, body := range l.bodies {
		e := dueEvent{body: body, due: began.Add(time.Duration(i) * time.Second / time.Duration(rate)), watch: i%(rate/rowSamples) == 0}
		sleepUntil(e.due)
		due <- e
	}
	close(due)
	senders.Wait()
	took := time.Since(began)
	watchers.Wait()
	own = ownCPU() - own
	if failed != nil {
		return failed
	}
	if _, err := in.arrived(ctx, got.String(), l.events); err != nil {
		return err
	}
	after := cpuOf(in.stages)
	if err := in.exact(ctx, l.events); err != nil {
		return err
	}
	r.price(in.stages, before, after)
	r.Figures[figRate] = float64(l.events) / took.Seconds()
	r.Figures[figGenerator] = own / float64(l.events) * 1e6
	r.Figures[figDoor50], r.Figures[figDoor99] = quantile(door, 0.5), quantile(door, 0.99)
	r.Figures[figRow50], r.Figures[figRow99] = quantile(row, 0.5), quantile(row, 0.99)
	memory.figures(r)
	return nil
}

// sleepUntil returns at t, or at once if that has passed.
func sleepUntil(t time.Time) {
	for {
		left := time.Until(t)
		if left < 50*time.Microsecond {
			return
		}
		sleep(left)
	}
}

// quantile in milliseconds.
func quantile(d []time.Duration, q float64) float64 {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return float64(d[min(len(d)-1, int(float64(len(d))*q))].Microseconds()) / 1000
}
