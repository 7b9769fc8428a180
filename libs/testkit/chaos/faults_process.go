package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"
)

// processFaults end processes, with SIGKILL and with SIGTERM.
var processFaults = []fault{
	{name: "kill/ingester", what: "SIGKILL of an ingester", do: killService("ingester")},
	{name: "kill/enricher", what: "SIGKILL of an enricher", do: killService("enricher")},
	{name: "kill/indexer", what: "SIGKILL of an indexer", do: killService("indexer")},
	{name: "kill/query", what: "SIGKILL of a query service", do: killService("query")},
	{name: "kill/nats", what: "SIGKILL of NATS", do: func(ctx context.Context, l *lab, rng *rand.Rand) error {
		l.nats.kill()
		hold(ctx, rng, 0, 3*time.Second)
		return l.nats.start()
	}},
	{name: "kill/clickhouse", what: "SIGKILL of ClickHouse", do: func(ctx context.Context, l *lab, rng *rand.Rand) error {
		if err := l.db.kill(); err != nil {
			return err
		}
		hold(ctx, rng, 0, 3*time.Second)
		return l.db.start(ctx)
	}},
	{name: "kill/machine", what: "SIGKILL of every process at once", do: killMachine},
	{name: "term/one", what: "SIGTERM of one service, which drains and comes back", do: func(ctx context.Context, l *lab, rng *rand.Rand) error {
		p := l.services[order[rng.IntN(len(order))]][rng.IntN(each)]
		if err := p.terminate(ctx); err != nil {
			return err
		}
		return p.start()
	}},
	{name: "term/rolling", what: "SIGTERM of every service, one after the other", do: func(ctx context.Context, l *lab, rng *rand.Rand) error {
		list := l.all()
		rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		for _, p := range list {
			if err := p.terminate(ctx); err != nil {
				return err
			}
			if err := p.start(); err != nil {
				return err
			}
			hold(ctx, rng, 0, time.Second)
		}
		return nil
	}},
	{name: "term/everything", what: "SIGTERM of everything, one after the other, NATS and ClickHouse too", do: rollAll},
	{name: "storm", what: "five processes killed within three seconds, each back at once", do: func(ctx context.Context, l *lab, rng *rand.Rand) error {
		for range 5 {
			list := append(l.all(), l.nats)
			p := list[rng.IntN(len(list))]
			p.kill()
			if err := p.start(); err != nil {
				return err
			}
			hold(ctx, rng, 0, 600*time.Millisecond)
		}
		return nil
	}},
}

// rollAll restarts all there is, in any order.
func rollAll(ctx context.Context, l *lab, rng *rand.Rand) error {
	turns := []func() error{func() error {
		err := l.db.stop(ctx)
		return errors.Join(err, l.db.start(ctx))
	}}
	for _, p := range append(l.all(), l.nats) {
		turns = append(turns, func() error {
			if err := p.terminate(ctx); err != nil {
				return err
			}
			return p.start()
		})
	}
	rng.Shuffle(len(turns), func(i, j int) { turns[i], turns[j] = turns[j], turns[i] })
	for _, turn := range turns {
		if err := turn(); err != nil {
			return err
		}
		hold(ctx, rng, 0, time.Second)
	}
	return nil
}

// killService kills one of two processes, or both.
func killService(name string) func(context.Context, *lab, *rand.Rand) error {
	return func(ctx context.Context, l *lab, rng *rand.Rand) error {
		pair := l.services[name]
		some := pair[rng.IntN(each):][:1]
		if rng.IntN(3) == 0 {
			some = pair[:]
		}
		for _, p := range some {
			p.kill()
		}
		hold(ctx, rng, 0, 2*leaseTTL)
		for _, p := range some {
			if err := p.start(); err != nil {
				return err
			}
		}
		return nil
	}
}

func killMachine(ctx context.Context, l *lab, rng *rand.Rand) error {
	all := append(l.all(), l.nats)
	for _, p := range all {
		p.signal(syscall.SIGKILL)
	}
	if err := l.db.kill(); err != nil {
		return err
	}
	for _, p := range all {
		<-p.ended()
	}
	hold(ctx, rng, 0, time.Second)
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	var started sync.WaitGroup
	var failed error
	started.Go(func() { failed = l.db.start(ctx) })
	for _, p := range all {
		if err := p.start(); err != nil {
			return err
		}
	}
	started.Wait()
	return failed
}
