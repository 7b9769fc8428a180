package main

import (
	"context"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/libs/testkit/proxy"
)

// networkFaults break connections, by the proxies that every one goes through.
var networkFaults = []fault{
	{name: "network/cut", what: "connections reset, and new ones too, for seconds", do: onWires("*", resets, func(ctx context.Context, p *proxy.Proxy, rng *rand.Rand) {
		p.Cut()
	})},
	{name: "network/reset", what: "connections reset again and again, each comes back at once", do: onWires("*", resets, func(ctx context.Context, p *proxy.Proxy, rng *rand.Rand) {
		for range 10 {
			p.Reset()
			hold(ctx, rng, 0, 300*time.Millisecond)
		}
	})},
	{name: "network/delay", what: "every byte is late", do: onWires("*", nil, func(ctx context.Context, p *proxy.Proxy, rng *rand.Rand) {
		late := proxy.Fault{Delay: between(rng, 20*time.Millisecond, 700*time.Millisecond), Jitter: 50 * time.Millisecond}
		p.Set(proxy.Up, late)
		p.Set(proxy.Down, late)
	})},
	{name: "network/stalled", what: "nothing arrives, no connection ends, and later all comes", do: onWires("*", nil, func(ctx context.Context, p *proxy.Proxy, rng *rand.Rand) {
		p.Stall()
	})},
	{name: "network/half-closed", what: "one direction of a connection is closed", do: onWires("*", nil, func(ctx context.Context, p *proxy.Proxy, rng *rand.Rand) {
		p.HalfClose(direction(rng))
	})},
	{name: "network/one-way", what: "the bytes of one direction vanish, the other's flow", do: onWires("*", nil, func(ctx context.Context, p *proxy.Proxy, rng *rand.Rand) {
		p.Set(direction(rng), proxy.Fault{Vanish: true})
	})},
	{name: "network/cut-inside", what: "connections end in the middle of a message", do: onWires("*", insides, func(ctx context.Context, p *proxy.Proxy, rng *rand.Rand) {
		p.CutInside(direction(rng), 3, proxy.Match{After: 1 + rng.IntN(4000)})
	})},
	{name: "network/lost-answer-of-door", what: "a producer's request arrives, its answer does not", do: onWires("producer>*", lostReplies, func(ctx context.Context, p *proxy.Proxy, rng *rand.Rand) {
		p.LoseReplies(5, proxy.Match{})
	})},
	{name: "network/lost-answer-of-nats", what: "NATS stores what a service publishes, the acknowledgement is lost", do: lostAcknowledgements},
	{name: "network/lost-answer-of-clickhouse", what: "ClickHouse takes the rows, its answer is lost", do: onWires("indexer-?>clickhouse", lostReplies, func(ctx context.Context, p *proxy.Proxy, rng *rand.Rand) {
		p.LoseReplies(3, rowsSent)
	})},
	{name: "network/slow-line", what: "a few kilobytes a second", do: onWires("indexer-?>clickhouse", nil, func(ctx context.Context, p *proxy.Proxy, rng *rand.Rand) {
		p.Set(proxy.Up, proxy.Fault{Rate: 20 << 10})
	})},
}

// What a proxy counts when its fault strikes.
func resets(s proxy.Stats) int      { return s.Reset + s.Refused }
func insides(s proxy.Stats) int     { return s.Inside }
func lostReplies(s proxy.Stats) int { return s.LostReplies }

func direction(rng *rand.Rand) proxy.Direction {
	if rng.IntN(2) == 0 {
		return proxy.Up
	}
	return proxy.Down
}

// lostAcknowledgements takes away what NATS answers to one of the services that
// publish, for what it is there to publish.
func lostAcknowledgements(ctx context.Context, l *lab, rng *rand.Rand) error {
	of := []struct{ wires, subject string }{
		{"ingester-?>nats", "PUB millrace.raw."},
		{"enricher-?>nats", "PUB millrace.enriched."},
		{"indexer-?>nats", "PUB millrace.ledger."},
	}[rng.IntN(3)]
	return onWires(of.wires, lostReplies, func(ctx context.Context, p *proxy.Proxy, rng *rand.Rand) {
		p.LoseReplies(3, proxy.Match{Has: of.subject})
	})(ctx, l, rng)
}

// onWires breaks some of the connections whose names match a pattern, and keeps
// them broken for a while, or for longer until counted, if it is given, has
// grown. Questions are rare: a query's connection is never the only one.
func onWires(pattern string, counted func(proxy.Stats) int, strike func(context.Context, *proxy.Proxy, *rand.Rand)) func(context.Context, *lab, *rand.Rand) error {
	return func(ctx context.Context, l *lab, rng *rand.Rand) error {
		some := l.someWires(pattern, rng)
		sum := func() (n int) {
			for _, p := range some {
				if counted != nil {
					n += counted(p.Stats())
				}
			}
			return n
		}
		before := sum()
		for _, p := range some {
			strike(ctx, p, rng)
		}
		hold(ctx, rng, time.Second, 6*time.Second)
		if counted != nil && !eventually(ctx, 10*time.Second, func() bool { return sum() > before }) {
			return missed("nothing went over the connections that were to break")
		}
		return nil
	}
}

func (l *lab) someWires(pattern string, rng *rand.Rand) (some []*proxy.Proxy) {
	l.mill.mu.Lock()
	defer l.mill.mu.Unlock()
	var names []string
	for name := range l.wires {
		if ok, _ := path.Match(pattern, name); ok { // the patterns are well formed
			names = append(names, name)
		}
	}
	slices.Sort(names)
	rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	busy := slices.IndexFunc(names, func(name string) bool { return !strings.HasPrefix(name, "query") })
	names[0], names[busy] = names[busy], names[0]
	for _, name := range names[:1+rng.IntN(len(names))] {
		some = append(some, l.wires[name])
	}
	return some
}
