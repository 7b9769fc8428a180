package main

import (
	"bytes"
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// rowLooks are how many events a second the load watches until their row is
// there.
const rowLooks = 5

// The people who are active: of every tenth, whoever they are, so many that
// each does something every four seconds.
const (
	activeOf    = 10
	activeEvery = 4 // seconds
)

func activePeople(rate int) int { return min(people/activeOf, activeEvery*rate) }

func activeUser(r *rand.Rand, of int) uint64 { return activeOf*r.Uint64N(uint64(of)) + 3 }

// otherUser is anybody who is not active, by how often they come.
func otherUser(r *rand.Rand) uint64 {
	for {
		x := r.Float64()
		if u := uint64(people * x * x); u%activeOf != 3 {
			return u
		}
	}
}

// timed is how long something took that ended then.
type timed struct {
	at   time.Time
	took time.Duration
}

// steadyLoad sends single events at a steady rate, open loop, as latency.go
// does, for as long as questions are asked.
type steadyLoad struct {
	in  *installation
	gen *generator

	mu        sync.Mutex // guards all below
	door, row []timed
	got       receipts
	sent      int
	seen      []uint64 // who sent something, in order
	failed    error
}

func newSteadyLoad(in *installation, name string, rate int) *steadyLoad {
	g := newGenerator(name, 3, usualSize)
	g.pick = func() uint64 { return activeUser(g.rnd, activePeople(rate)) }
	return &steadyLoad{in: in, gen: g}
}

func (l *steadyLoad) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil {
		l.failed = err
	}
}

func (l *steadyLoad) error() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// run sends until stop is closed, and returns when all are answered.
func (l *steadyLoad) run(ctx context.Context, rate int, stop <-chan struct{}) {
	due := make(chan dueEvent, 10*rate) // late events wait here; ten seconds of them are the end
	var senders, watchers sync.WaitGroup
	for range latencyConnections {
		c, err := l.in.dial()
		if err != nil {
			l.fail(err)
			break
		}
		senders.Go(func() { // until due is closed
			defer c.close()
			for e := range due {
				l.send(ctx, c, e, &watchers)
			}
		})
	}
	began := time.Now()
	for i := 0; l.error() == nil; i++ {
		e := dueEvent{due: began.Add(time.Duration(i) * time.Second / time.Duration(rate)), watch: i%(rate/rowLooks) == 0}
		e.body = bytes.Clone(l.gen.append(nil))
		sleepUntil(e.due)
		l.mu.Lock()
		l.seen = append(l.seen, l.gen.last)
		l.mu.Unlock()
		select {
		case <-stop:
			close(due)
			senders.Wait()
			watchers.Wait()
			return
		case due <- e:
		}
	}
	close(due)
}

func (l *steadyLoad) send(ctx context.Context, c *connection, e dueEvent, watchers *sync.WaitGroup) {
	receipt, err := c.send(ctx, e.body)
	answered := time.Now()
	if err != nil {
		l.fail(err)
		return
	}
	l.got.add(receipt)
	l.mu.Lock()
	l.door = append(l.door, timed{answered, answered.Sub(e.due)})
	l.sent++
	l.mu.Unlock()
	if e.watch {
		watchers.Go(func() { // until the row is there
			if _, err := l.in.ask(ctx, "SELECT 1", receipt); err != nil {
				l.fail(err)
				return
			}
			l.mu.Lock()
			l.row = append(l.row, timed{time.Now(), time.Since(answered)})
			l.mu.Unlock()
		})
	}
}

// someone is a user who has sent something in the time that the load runs, not
// in the last second of it.
func (l *steadyLoad) someone(r *rand.Rand, rate int) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen[r.IntN(max(1, len(l.seen)-rate))]
}

// stretch measures the taking in between two moments.
type stretch struct {
	l      *steadyLoad
	began  time.Time
	before map[string]float64
	own    float64
}

func (l *steadyLoad) stretch() stretch {
	return stretch{l, time.Now(), cpuOf(l.in.stages), ownCPU()}
}

// end writes the figures of the stretch.
func (s stretch) end(r *result) {
	after, now := cpuOf(s.l.in.stages), time.Now()
	seconds := now.Sub(s.began).Seconds()
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	within := func(all []timed) (some []time.Duration) {
		for _, t := range all {
			if t.at.After(s.began) && t.at.Before(now) {
				some = append(some, t.took)
			}
		}
		return some
	}
	door, row := within(s.l.door), within(s.l.row)
	r.Events = len(door)
	r.Figures[figRate] = float64(len(door)) / seconds
	r.Figures[figDoor50], r.Figures[figDoor99] = quantile(door, 0.5), quantile(door, 0.99)
	r.Figures[figRow50], r.Figures[figRow99] = quantile(row, 0.5), quantile(row, 0.99)
	total := 0.0
	for _, st := range s.l.in.stages {
		cores := (after[st.Name] - s.before[st.Name]) / seconds
		r.Figures[figCores+"."+st.Name] = cores
		total += cores
	}
	r.Figures[figCores] = total
	r.Figures[figCores+".generator"] = (ownCPU() - s.own) / seconds
}
