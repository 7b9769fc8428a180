package ingester

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/svc"
)

// levelEvery is how often it is looked whether messages of IN are taken.
const levelEvery = time.Second

// judge says after the stream has answered whether the shard takes events. The
// caller holds mu.
func (l *lane) judge() {
	switch {
	case l.share() >= fullFrom:
		l.m.lanes.Wait(l.shard, bus.StuckFull, fmt.Sprintf("its RAW stream is %.0f %% full, so requests are answered with 429", 100*l.share()))
	case l.flying == 0 || !l.troubled:
		// What was not acknowledged was given up, and nothing waits any more.
		l.troubled = false
		l.m.lanes.Done(l.shard)
	}
}

// stuckReason is the class of what keeps a frame from being acknowledged.
func stuckReason(err error) string {
	if bus.IsFull(err) {
		return bus.StuckFull
	}
	return bus.StuckNATS
}

// stuck is what the ingester says of its shards to others.
func (d *door) stuck() (all []bus.Why) {
	for _, st := range d.m.lanes.Stuck() {
		all = append(all, bus.Why(st))
	}
	return all
}

// lookIn compares what IN holds with what was taken from it until ctx is done,
// so that messages which nobody takes show.
func (d *door) lookIn(ctx context.Context, js jetstream.JetStream) {
	tick := time.NewTicker(levelEvery)
	defer tick.Stop()
	names := d.inst.Names
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		call, cancel := context.WithTimeout(ctx, 2*time.Second)
		in, err := js.Stream(call, names.StreamIn())
		var taken jetstream.Consumer
		if err == nil {
			taken, err = js.Consumer(call, names.StreamIn(), names.DurableIngester())
		}
		cancel()
		if err != nil {
			if ctx.Err() == nil {
				d.m.retries[stepLook].Inc()
				d.m.lanes.Wait(svc.LaneIn, bus.StuckNATS, "the messages of the NATS door cannot be seen: "+err.Error())
			}
			continue
		}
		d.m.lanes.Done(svc.LaneIn)
		info := taken.CachedInfo()
		want := in.CachedInfo().State.LastSeq
		if info.NumPending+uint64(info.NumAckPending) == 0 { // the rest was purged
			want = info.AckFloor.Stream
		}
		d.m.lanes.Level(svc.LaneIn, info.AckFloor.Stream, want)
	}
}
