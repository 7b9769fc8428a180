package ingester

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/bus/sources"
	"github.com/millrace/millrace/libs/event"
	"github.com/millrace/millrace/libs/failpoint"
	"github.com/millrace/millrace/libs/svc"
)

// door is what both doors need once the streams are known: it makes rows of
// bodies and gives them to the lanes.
type door struct {
	cfg      *Config
	inst     bus.Installation
	limits   event.Limits
	lanes    []*lane
	budget   *budget
	refusals *refusals
	fair     *fairness
	sources  *sources.Registry
	m        *metrics
	log      *slog.Logger
	unzip    *event.Decompressor
	mappers  mappers
	intakes  sync.Pool // of *intake

	acked atomic.Int64 // messages of IN that were acknowledged

	delayed     atomic.Int64 // messages of IN that wait because their source has had its part
	mostDelayed int64
}

func newDoor(cfg *Config, inst bus.Installation, js jetstream.JetStream, maxPayload int64, b *budget, known *sources.Registry, m *metrics) *door {
	limits := limitsFor(cfg.Limits, maxPayload)
	d := &door{
		cfg: cfg, inst: inst, limits: limits, budget: b, refusals: newRefusals(), m: m, log: cfg.Log,
		fair: newFairness(b, inst.Shards), sources: known, mostDelayed: mostDelayed,
		unzip: event.NewDecompressor(limits), mappers: newMappers(limits),
	}
	d.intakes.New = func() any {
		in := newIntake(limits, inst.Shards)
		in.sources = known
		return in
	}
	m.lanes.Open(svc.LaneIn)
	frames := &sync.Pool{New: func() any { return newOutgoing() }}
	for shard := range inst.Shards {
		m.lanes.Open(shard)
		d.lanes = append(d.lanes, newLane(laneConfig{
			shard: shard, subject: inst.Names.Raw(shard), stream: inst.Names.StreamRaw(shard),
			linger: cfg.Linger, hold: cfg.Hold,
			frameBytes: frameBytes(cfg.FrameBytes, maxPayload), frameEvents: cfg.FrameEvents,
			js: js, log: cfg.Log, m: m, budget: b, frames: frames,
		}))
	}
	return d
}

// growth is by how much the enriched frame may be larger than the RAW frame
// and still fit NATS's max payload: enrichment adds columns to small events
// and repeats parts of the body in them.
const growth = 16

// frameBytes is the cap of a frame's uncompressed rows.
func frameBytes(configured int, maxPayload int64) int {
	return int(min(int64(configured), maxPayload/growth))
}

// put gives the rows of in to their lanes, all or none. done is called once
// when put returned nil: when every frame with one of the rows is finished.
// The rows are copied, so in is free when put returns.
func (d *door) put(in *intake, until time.Time, done func(bus.Receipt, error)) error {
	now := failpoint.Now()
	if err := d.admit(in, now); err != nil {
		return err
	}
	t := newTicket(done)
	var failed error
	for shard, first := range in.heads {
		if first < 0 {
			continue
		}
		if err := d.lanes[shard].add(in, first, t, now, until); err != nil {
			failed = err // what other lanes have taken is stored, and repeated by the sender
		}
	}
	t.added(failed)
	return nil
}

// refusedBy counts the refused rows by reason; nil when there are none.
func (in *intake) refusedBy() map[event.Reason]int {
	if len(in.rejected) == 0 {
		return nil
	}
	n := map[event.Reason]int{}
	for _, i := range in.rejected {
		n[in.rows[i].reason]++
	}
	return n
}

// drain sends what the lanes hold and waits until all of it is finished. The
// doors must have stopped.
func (d *door) drain(lanes *sync.WaitGroup) {
	for _, l := range d.lanes {
		l.stop()
	}
	lanes.Wait()
}
