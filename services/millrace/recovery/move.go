package recovery

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event"
)

// carryOut does what was decided. Every step looks first whether it was done.
func (r *run) carryOut(ctx context.Context, d *decision) (Report, error) {
	rep := d.Report
	plan := r.planOf(d.To)
	plan.Sizes.Raw = max(plan.Sizes.Raw, d.RawSize)
	steps := []struct {
		name string
		do   func() error
	}{
		{"shut the streams", func() error { return bus.Shut(ctx, r.js, d.To, plan) }},
		{"make missing streams", func() error {
			if err := r.placesOfReaders(ctx); err != nil {
				return err
			}
			return bus.Complete(ctx, r.js, d.To, plan)
		}},
		{"move the shards", func() error { return r.moveAll(ctx, d) }},
		{"begin the ledger", func() error { return r.beginLedger(ctx, d) }},
		{"open the streams", func() error { return bus.Reopen(ctx, r.js, d.To) }},
	}
	for _, s := range steps {
		if err := r.cfg.fault(s.name); err != nil {
			return rep, err
		}
		r.cfg.Progress(s.name)
		if err := s.do(); err != nil {
			return rep, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return r.finish(ctx, d)
}

// finish writes down that all is done and forgets the copies.
func (r *run) finish(ctx context.Context, d *decision) (Report, error) {
	if err := r.cfg.fault("forget the copies"); err != nil {
		return d.Report, err
	}
	d.Done, d.Report.Applied = true, true
	if err := r.write(ctx, d); err != nil {
		return d.Report, err
	}
	s, err := r.js.Stream(ctx, r.names.StreamRecovery())
	if err != nil {
		return d.Report, fmt.Errorf("look up %s: %w", r.names.StreamRecovery(), err)
	}
	if err := r.forgetCopies(ctx, s, d.To.Shards); err != nil {
		return d.Report, err
	}
	return r.keep(d.Report)
}

// planOf is how missing streams are made: as their neighbours are.
func (r *run) planOf(inst bus.Installation) bus.Plan {
	p := r.cfg.Plan
	p.Shards, p.Sinks = inst.Shards, inst.Sinks
	like := func(size *int64, names ...string) {
		for _, n := range names {
			if i := r.streams[n]; i != nil {
				*size, p.Replicas = i.Config.MaxBytes, i.Config.Replicas
				return
			}
		}
		if *size == 0 {
			*size = 1 << 30
		}
	}
	var raws, enriched []string
	for id := range p.Shards {
		raws, enriched = append(raws, r.names.StreamRaw(id)), append(enriched, r.names.StreamEnriched(id))
	}
	like(&p.Sizes.In, r.names.StreamIn())
	like(&p.Sizes.Dead, r.names.StreamDead())
	like(&p.Sizes.Raw, append(raws, enriched...)...)
	like(&p.Sizes.Enriched, append(enriched, raws...)...)
	if in := r.streams[r.names.StreamIn()]; in != nil && in.Config.MaxMsgSize > 0 {
		p.MaxIn = in.Config.MaxMsgSize
	}
	if p.MaxIn == 0 {
		p.MaxIn = int32(min(int64(event.DefaultLimits().MaxRequest), r.nc.MaxPayload()-64<<10))
	}
	return p
}

// placesOfReaders removes consumers that are ahead of their stream: they would
// not be given what comes. They are made again.
func (r *run) placesOfReaders(ctx context.Context) error {
	for stream, durable := range map[string]string{
		r.names.StreamIn(): r.names.DurableIngester(), r.names.StreamDead(): r.names.DurableDeadLetters(),
	} {
		s, err := r.js.Stream(ctx, stream)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("look up %s: %w", stream, err)
		}
		c, err := s.Consumer(ctx, durable)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("look up the consumer of %s: %w", stream, err)
		}
		if i := c.CachedInfo(); max(i.AckFloor.Stream, i.Delivered.Stream) > s.CachedInfo().State.LastSeq {
			if err := s.DeleteConsumer(ctx, durable); err != nil {
				return fmt.Errorf("remove the consumer of %s: %w", stream, err)
			}
		}
	}
	return nil
}

func (r *run) moveAll(ctx context.Context, d *decision) error {
	for id := range d.Shards {
		if err := r.move(ctx, id, &d.Shards[id]); err != nil {
			return fmt.Errorf("shard %d: %w", id, err)
		}
		r.cfg.Progress(fmt.Sprintf("shard %d: new frames come after %d", id, d.Shards[id].proven()+d.Shards[id].Events))
	}
	return nil
}

// move purges both streams ahead and appends the copies to RAW.
func (r *run) move(ctx context.Context, id int, d *decidedShard) error {
	if err := r.ahead(ctx, r.names.StreamRaw(id), d.Barrier); err != nil {
		return err
	}
	if err := r.cfg.fault("ahead"); err != nil {
		return err
	}
	at := d.Barrier
	for _, part := range []struct {
		subject string
		frames  uint64
	}{{r.names.RecoveryIDs(id), d.IDs}, {r.names.RecoveryEvents(id), d.Events}} {
		n := uint64(0)
		for m, err := range each(ctx, r.js, r.names.StreamRecovery(), part.subject, 1) {
			if err != nil {
				return err
			}
			if err := r.appendRaw(ctx, id, at, m); err != nil {
				return err
			}
			at, n = at+1, n+1
		}
		if n != part.frames {
			return fmt.Errorf("%s holds %d frames of %s, decided were %d: somebody has removed some; bring the copy of the data back that was made before, or the stream", r.names.StreamRecovery(), n, part.subject, part.frames)
		}
	}
	if err := r.cfg.fault("appended"); err != nil {
		return err
	}
	return r.ahead(ctx, r.names.StreamEnriched(id), d.proven())
}

// ahead empties a stream and lets it go on after seq, unless it is there.
func (r *run) ahead(ctx context.Context, stream string, seq uint64) error {
	s, err := r.js.Stream(ctx, stream)
	if err != nil {
		return fmt.Errorf("look up %s: %w", stream, err)
	}
	if s.CachedInfo().State.LastSeq >= seq {
		return nil
	}
	if err := bus.Purge(ctx, r.js, stream, seq+1); err != nil {
		return err
	}
	i, err := s.Info(ctx)
	if err != nil {
		return fmt.Errorf("look up %s: %w", stream, err)
	}
	if i.State.LastSeq != seq || i.State.Msgs != 0 {
		return fmt.Errorf("%s was purged up to %d and ends at %d with %d messages", stream, seq, i.State.LastSeq, i.State.Msgs)
	}
	return nil
}

// appendRaw stores a copy as the frame after `after`, once.
func (r *run) appendRaw(ctx context.Context, id int, after uint64, m message) error {
	header := nats.Header{}
	for k, v := range m.header {
		if strings.HasPrefix(k, "Millrace-") {
			header[k] = v
		}
	}
	header.Set(nats.MsgIdHdr, header.Get(bus.HeaderFrame)) // as every frame of RAW has it
	msg := &nats.Msg{Subject: r.names.Recovering(id), Header: header, Data: m.data}
	_, err := r.js.PublishMsg(ctx, msg, jetstream.WithExpectLastSequence(after))
	if err == nil {
		return r.cfg.fault("append")
	}
	// Refused, or stored by a run that was ended, or its reply was lost.
	s, err2 := r.js.Stream(ctx, r.names.StreamRaw(id))
	var stored *jetstream.RawStreamMsg
	if err2 == nil {
		stored, err2 = s.GetMsg(ctx, after+1)
	}
	if err2 == nil && stored.Header.Get(bus.HeaderFrame) == header.Get(bus.HeaderFrame) {
		return nil
	}
	return fmt.Errorf("append frame %d to %s: see that NATS answers, has room, and that no service runs, then run this again: %w", after+1, r.names.StreamRaw(id), err)
}

// beginLedger writes the first record of the new incarnation for every sink.
func (r *run) beginLedger(ctx context.Context, d *decision) error {
	ledger, err := r.js.Stream(ctx, r.names.StreamLedger())
	if err != nil {
		return fmt.Errorf("look up %s: %w", r.names.StreamLedger(), err)
	}
	for sink := range d.To.Sinks {
		last, _, err := bus.LedgerLast(ctx, ledger, r.names, sink)
		if err != nil && last.Revision == 0 { // one that cannot be read has one
			return err
		}
		if last.Incarnation == d.To.Incarnation {
			continue
		}
		rec := bus.Record{Incarnation: d.To.Incarnation, Sink: sink, Owner: "recover", At: time.Now().UTC()}
		for _, id := range d.To.ShardsOf(sink) {
			s := d.Shards[id]
			rec.Shards = append(rec.Shards, bus.Proof{Shard: id, Proven: s.proven(), Totals: s.Totals})
			rec.Recovered = append(rec.Recovered, s.Recovered)
		}
		if err := bus.LedgerAppend(ctx, r.js, ledger, r.names, &rec, last.Revision); err != nil {
			return err
		}
		if err := r.cfg.fault("ledger"); err != nil {
			return err
		}
	}
	return nil
}
