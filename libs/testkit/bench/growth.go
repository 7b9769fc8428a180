package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// growth are the parts that show how events a second change with one thing
// while all others stay as in way-nats.
func (b *bench) growth() []part {
	up := func(args ...string) func(context.Context) (*installation, error) {
		return func(ctx context.Context) (*installation, error) { return b.up(ctx, args...) }
	}
	usual := func(name, kind string, x float64, args ...string) way {
		return way{
			part: name, kind: kind, x: x, events: b.events, batch: 100, size: usualSize, send: overNATS(batchPending),
			durability: "process", start: up(args...),
		}
	}
	cores := part{name: "growth-cores", slow: true, what: "way-nats on 1 and 2 cores, the generator on the same ones"}
	for _, n := range []int{1, 2} {
		w := usual(cores.name, strconv.Itoa(n), float64(n))
		cores.runs = append(cores.runs, alone(func(ctx context.Context, b *bench, name, profile string) (result, error) {
			restore, err := pin(n)
			if err != nil {
				return result{}, err
			}
			defer restore()
			return w.run(ctx, b, name, profile)
		}))
	}
	shards := part{name: "growth-shards", slow: true, what: "way-nats with 1, 4 and 16 shards"}
	for _, n := range []int{1, 4, 16} {
		w := usual(shards.name, strconv.Itoa(n), float64(n), "--shards", strconv.Itoa(n))
		shards.runs = append(shards.runs, w.measurement())
	}
	size := part{name: "growth-size", slow: true, what: "way-nats with events of 0.3, 0.6, 5 and 30 KB, messages of the same size"}
	for _, n := range []int{300, usualSize, 5_000, 30_000} {
		w := usual(size.name, fmt.Sprintf("%.1f KB", float64(n)/1000), float64(n)/1000)
		w.size = n
		if n > usualSize {
			w.batch = max(1, w.batch*usualSize/n)
			w.events = max(1, w.events*usualSize/n)
		}
		size.runs = append(size.runs, w.measurement())
	}
	sources := part{name: "growth-sources", slow: true, what: "way-nats from 1, 10 and 100 sources"}
	for _, n := range []int{1, 10, 100} {
		var names, keys []string
		for i := range n {
			name := fmt.Sprintf("source-%d", i)
			names, keys = append(names, name), append(keys, name+":key-of-"+name)
		}
		w := usual(sources.name, strconv.Itoa(n), float64(n), "--write-keys", strings.Join(keys, ","))
		w.send = overNATS(batchPending, names...)
		sources.runs = append(sources.runs, w.measurement())
	}
	table := part{name: "growth-table", slow: true, what: "way-nats on a table of 0, 5, 20 and 50 times as many rows; takes 30 GB of disk", runs: []measurement{onTables}}
	return []part{cores, shards, size, sources, table}
}
