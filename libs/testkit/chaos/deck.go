package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// fault is one way in which things break. do breaks something, keeps it broken
// for a while and heals it; everything random comes from rng, so that a seed
// names a run's decisions. It returns an error that wraps errMissed when what
// it is about did not happen.
type fault struct {
	name string
	what string
	do   func(ctx context.Context, l *lab, rng *rand.Rand) error
	// disk: it needs a small disk of its own.
	disk bool
	// loses: ClickHouse loses rows that it had acknowledged, so that the audit
	// may bring rows back.
	loses bool
}

// errMissed says that a fault did not strike: what it breaks did not come to
// pass while it lasted.
var errMissed = errors.New("the fault did not strike")

// faults are all of them, in the order of the files that hold them.
func faults() []fault {
	return slices.Concat(processFaults, twinFaults, networkFaults, clickhouseFaults, partFaults, streamFaults, diskFaults, clockFaults, pointFaults, logFaults)
}

// choose finds faults by name, or by the part of a name before its slash. The
// single points are found by their whole name only: there are many, and each
// group of them is a fault too.
func choose(names string) ([]fault, error) {
	all := faults()
	if names == "" || names == "all" {
		return all, nil
	}
	var chosen []fault
	for name := range strings.SplitSeq(names, ",") {
		n := len(chosen)
		for _, f := range all {
			group, _, _ := strings.Cut(f.name, "/")
			if name == f.name || name == group {
				chosen = append(chosen, f)
			}
		}
		for _, f := range everyPoint() {
			if name == f.name {
				chosen = append(chosen, f)
			}
		}
		if len(chosen) == n {
			return nil, fmt.Errorf("no fault is called %q; `--list` shows them", name)
		}
	}
	return chosen, nil
}

// deck deals the faults in random order, each once before any comes again.
type deck struct {
	faults []fault
	rng    *rand.Rand
	left   []fault
}

func (d *deck) deal() fault {
	if len(d.left) == 0 {
		d.left = slices.Clone(d.faults)
		d.rng.Shuffle(len(d.left), func(i, j int) { d.left[i], d.left[j] = d.left[j], d.left[i] })
	}
	f := d.left[0]
	d.left = d.left[1:]
	return f
}

// between is a random duration.
func between(rng *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(rng.Int64N(int64(to-from)+1))
}

// hold keeps something broken for a while.
func hold(ctx context.Context, rng *rand.Rand, from, to time.Duration) {
	pause(ctx, between(rng, from, to))
}
