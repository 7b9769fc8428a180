package ingester

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/failpoint"
	"github.com/millrace/millrace/libs/svc"
)

const (
	// trimLook is how often IN is looked at while messages come.
	trimLook = 100 * time.Millisecond
	// trimEvery is the time between two purges of IN while there is room.
	trimEvery = time.Second
	// trimLast is the longest time between two looks that fail.
	trimLast = 2 * time.Second
	// trimFull is the share of IN from which it is purged at every look.
	trimFull = 0.25
)

// trimmer empties IN: what the consumer that all ingesters share has
// acknowledged, in one purge a second. A work queue would remove each message
// by itself, as soon as it is acknowledged, and rewrite a block of its file
// whenever half of it is gone: 7 % of the CPU of `up` at full speed, by its
// profile (`make bench BENCH=way-nats ARGS="--profile DIR"`).
type trimmer struct {
	d       *door
	js      jetstream.JetStream
	trimmed uint64    // IN's messages up to this one are purged
	at      time.Time // of the last purge
	settled bool      // nothing was left to purge at the last look
	seen    int64     // door.acked at the last look
}

// run works until ctx is done. What it leaves is acknowledged: it lies in IN
// until the next ingester purges it, and is delivered to nobody.
func (t *trimmer) run(ctx context.Context) {
	tick := time.NewTicker(trimLook)
	defer tick.Stop()
	wait, until := trimLook, time.Time{} // a look that failed waits
	var lines svc.Repeated
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if time.Now().Before(until) {
				continue
			}
			err := t.look(ctx)
			if err == nil || ctx.Err() != nil {
				wait = trimLook
				lines.Over()
				continue
			}
			t.d.m.retries[stepTrim].Inc()
			if times, due := lines.Again(); due {
				t.d.log.Warn("the stream of the NATS door is not emptied; it refuses publishers once it is full", "times", times, "err", err)
			}
			wait = min(2*wait, trimLast)
			until = time.Now().Add(wait)
		}
	}
}

func (t *trimmer) look(ctx context.Context) error {
	acked := t.d.acked.Load()
	if t.settled && acked == t.seen {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	names := t.d.inst.Names
	in, err := t.js.Stream(ctx, names.StreamIn())
	if err != nil {
		return fmt.Errorf("look up %s: %w", names.StreamIn(), err)
	}
	info := in.CachedInfo()
	if share := float64(info.State.Bytes) / float64(info.Config.MaxBytes); !failpoint.Due(t.at, trimEvery) && share < trimFull {
		return nil
	}
	consumer, err := t.js.Consumer(ctx, names.StreamIn(), names.DurableIngester())
	if err != nil {
		return fmt.Errorf("look up the consumer of %s: %w", names.StreamIn(), err)
	}
	floor := consumer.CachedInfo().AckFloor.Stream
	if floor > t.trimmed && floor >= info.State.FirstSeq {
		failpoint.At(failpoint.IngesterInPurgeBefore)
		if err := bus.Purge(ctx, t.js, names.StreamIn(), floor+1); err != nil {
			return err
		}
		failpoint.At(failpoint.IngesterInPurgeAfter)
		t.trimmed, t.at = floor, failpoint.Now()
	}
	// Acknowledgements are on their way for as long as some are missing.
	t.settled, t.seen = floor >= info.State.LastSeq, acked
	return nil
}
