package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
)

// ledger reads what the indexers wrote down and checks it by itself: of every
// shard each frame belongs to exactly one range, ranges follow one another, no
// sum is off, and at the end all of RAW is proven.
func (l *lab) ledger(ctx context.Context, v *verdict) error {
	js, done, err := l.jetStream()
	if err != nil {
		return err
	}
	defer done()
	last := map[int]*bus.Record{} // by sink
	err = l.eachFrame(ctx, js, l.names().StreamLedger(), func(m *jetstream.RawStreamMsg) {
		rec, err := bus.DecodeRecord(m.Data)
		if err != nil {
			v.wrong("record %d of the ledger: %v", m.Sequence, err)
			return
		}
		for _, s := range follows(last[rec.Sink], &rec) {
			v.wrong("record %d of the ledger: %s", m.Sequence, s)
		}
		last[rec.Sink] = &rec
	})
	if err != nil {
		return err
	}
	for _, rec := range last {
		for _, p := range rec.Shards {
			s, err := js.Stream(ctx, l.names().StreamRaw(p.Shard))
			if err != nil {
				return err
			}
			if end := s.CachedInfo().State.LastSeq; p.Proven != end {
				v.wrong("RAW_%d ends at %d, the ledger at %d", p.Shard, end, p.Proven)
			}
		}
	}
	return nil
}

// follows says what is wrong with a record after the one before it, nil for the
// first that there is.
func follows(before, rec *bus.Record) (wrong []string) {
	fail := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	for _, p := range rec.Shards {
		if !p.Totals.Adds() {
			fail("shard %d: %+v does not add up", p.Shard, p.Totals)
		}
		if rec.Open != nil {
			for _, r := range rec.Open.Ranges {
				if r.Shard == p.Shard && (r.First != p.Proven+1 || r.Last < r.First) {
					fail("shard %d: frames %d-%d are open after %d", p.Shard, r.First, r.Last, p.Proven)
				}
			}
		}
		if before == nil || len(rec.Recovered) > 0 {
			continue // what was counted anew follows from nothing
		}
		i := slices.IndexFunc(before.Shards, func(was bus.Proof) bool { return was.Shard == p.Shard })
		if i < 0 {
			fail("shard %d is new", p.Shard)
			continue
		}
		was := before.Shards[i]
		if p.Proven == was.Proven && p.Totals == was.Totals {
			continue
		}
		var open *bus.Range
		if before.Open != nil {
			for j := range before.Open.Ranges {
				if before.Open.Ranges[j].Shard == p.Shard {
					open = &before.Open.Ranges[j]
				}
			}
		}
		if open == nil || p.Proven != open.Last || p.Totals.In != was.Totals.In+open.Totals.In {
			fail("shard %d: proven up to %d with %d events, it was %d with %d, and %+v was open", p.Shard, p.Proven, p.Totals.In, was.Proven, was.Totals.In, open)
		}
	}
	return wrong
}
