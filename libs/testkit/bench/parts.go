package main

import (
	"context"
	"fmt"
	"strings"
)

// part is a row of the table, or a few of one kind.
type part struct {
	name string
	what string
	slow bool // not among `all`
	// single: one run is enough, since it measures everything many times.
	single bool
	runs   []measurement
}

// measurement makes one run, or some that belong together. name tells its
// events from those of all others; profile, when not empty, is where profiles
// go.
type measurement func(ctx context.Context, b *bench, name, profile string) ([]result, error)

// parts are all there are, in the order in which they run.
func (b *bench) parts() []part {
	up := func(args ...string) func(context.Context) (*installation, error) {
		return func(ctx context.Context) (*installation, error) { return b.up(ctx, args...) }
	}
	usual := func(name string, batch int, send sender) way {
		return way{part: name, events: b.events, batch: batch, size: usualSize, send: send, durability: "process", start: up()}
	}
	power := usual("power", 100, overNATS(batchPending))
	power.durability, power.start = "power", up("--durability", "power")
	apart := usual("split", 100, overNATS(batchPending))
	apart.start = func(ctx context.Context) (*installation, error) {
		m, err := b.split(ctx, splitConfig{})
		if err != nil {
			return nil, err
		}
		return m.in, nil
	}
	return append([]part{
		{name: "way-nats", what: "NATS door, 100 events a message", runs: []measurement{usual("way-nats", 100, overNATS(batchPending)).measurement()}},
		{name: "way-nats-single", what: "NATS door, one event a message", runs: []measurement{usual("way-nats-single", 1, overNATS(singlePending)).measurement()}},
		{name: "way-http", what: "HTTP door, 100 events a request", runs: []measurement{usual("way-http", 100, overHTTP(16)).measurement()}},
		{name: "way-http-single", what: "HTTP door, one event a request", runs: []measurement{usual("way-http-single", 1, overHTTP(256)).measurement()}},
		{name: "latency", what: "single events over HTTP at a steady rate", runs: []measurement{
			alone(func(ctx context.Context, b *bench, name, profile string) (result, error) {
				return b.latency(ctx, name, profile)
			}),
		}},
		{name: "power", what: "way-nats with --durability power", runs: []measurement{power.measurement()}},
		{name: "split", what: "way-nats with a process for each service, NATS and ClickHouse", runs: []measurement{apart.measurement()}},
		{name: "peer-bento", slow: true, what: "Bento from the same JetStream to the same ClickHouse, one event a message", runs: []measurement{
			alone(func(ctx context.Context, b *bench, name, _ string) (result, error) { return b.bento(ctx, name) }),
		}},
		{name: "backlog", what: "events that waited while enricher and indexer were away", runs: []measurement{backlogOf(1), backlogOf(backlogTimes)}},
		{name: "answers", single: true, what: "questions on a table of --rows rows while events come in", runs: []measurement{
			func(ctx context.Context, b *bench, name, profile string) ([]result, error) {
				return b.answers(ctx, name, profile)
			},
		}},
	}, b.growth()...)
}

// alone is a measurement of one result.
func alone(f func(ctx context.Context, b *bench, name, profile string) (result, error)) measurement {
	return func(ctx context.Context, b *bench, name, profile string) ([]result, error) {
		r, err := f(ctx, b, name, profile)
		return []result{r}, err
	}
}

func (w way) measurement() measurement { return alone(w.run) }

func backlogOf(times int) measurement {
	return alone(func(ctx context.Context, b *bench, name, _ string) (result, error) {
		return b.backlog(ctx, times, name)
	})
}

// withPeers is what the ratios of the second table need.
const withPeers = "way-nats,way-nats-single,peer-bento"

// choose picks parts by their names; `all` are those that are not slow, `peers`
// the peers and what they are compared with, and the name of a family (growth)
// are those that begin with it.
func choose(parts []part, names string) (chosen []part, err error) {
	names = strings.ReplaceAll(names, "peers", withPeers)
	for name := range strings.SplitSeq(names, ",") {
		found := false
		for _, p := range parts {
			if p.name == name || name == "all" && !p.slow || strings.HasPrefix(p.name, name+"-") && p.slow {
				chosen, found = append(chosen, p), true
			}
		}
		if !found {
			var all []string
			for _, p := range parts {
				all = append(all, p.name)
			}
			return nil, fmt.Errorf("part %q: want all, peers, growth, or some of %s", name, strings.Join(all, ", "))
		}
	}
	return chosen, nil
}
