package main

import (
	"context"
	"math/rand/v2"
	"os"
	"time"
)

// clockFaults move the clock of all services, which their builds with
// failpoints read from a file.
var clockFaults = []fault{
	{name: "clock/forward", what: "the clock jumps an hour ahead, and back", do: jump(time.Hour)},
	{name: "clock/back", what: "the clock jumps an hour back, and ahead again", do: jump(-time.Hour)},
	{name: "clock/wild", what: "the clock jumps about", do: jump(time.Hour, -time.Minute, 24*time.Hour, 3*time.Second, -24*time.Hour)},
}

func jump(offsets ...time.Duration) func(context.Context, *lab, *rand.Rand) error {
	return func(ctx context.Context, l *lab, rng *rand.Rand) error {
		for _, d := range append(offsets, 0) {
			// A reader never sees half a file.
			if err := os.WriteFile(l.clock+".new", []byte(d.String()), 0o600); err != nil {
				return err
			}
			if err := os.Rename(l.clock+".new", l.clock); err != nil {
				return err
			}
			if d != 0 {
				hold(ctx, rng, time.Second, 4*time.Second)
			}
		}
		return nil
	}
}
