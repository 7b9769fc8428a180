package query

import (
	"context"
	"fmt"
	"slices"

	"github.com/millrace/millrace/libs/bus"
)

// proof is a range of frames that one record of the ledger's history has proven.
type proof struct {
	first, last uint64
	oldest      bool              // all that the ledger no longer tells apart
	totals      bus.Totals        // what the ledger counts for it, refused rows as dead
	refused     map[uint64]uint64 // rows by frame that ClickHouse refused and that became dead letters
}

// history is what the ledger still holds of a shard. Records are evicted, so it begins somewhere: up to before, the
// totals are all that is known.
type history struct {
	proofs  []proof // from frame 1 to what is proven
	newest  bus.Share
	records int
	// recovered are the records that begin an incarnation, as far as the ledger holds them.
	recovered []bus.Share
}

// readHistory reads what the records of a sink, up to a revision, say of one shard and checks that they are one chain:
// each record's totals are its predecessor's plus those of the block it proves, and the shard's frames in blocks follow
// each other without a gap.
func (s *Service) readHistory(ctx context.Context, inst bus.Installation, shard int, upTo uint64, f *findings) (history, error) {
	var h history
	for m, err := range s.messages(ctx, span{stream: s.names.StreamLedger(), subject: s.names.Ledger(inst.SinkOf(shard)), from: 1, to: upTo, bodies: true}) {
		if err != nil {
			return h, err
		}
		rec, err := bus.DecodeRecord(m.data)
		if err != nil {
			f.add(KindLedgerGap, h.newest.Proven+1, h.newest.Proven+1, 0, 0, fmt.Sprintf("ledger record %d cannot be read: %v", m.seq, err))
			continue
		}
		rec.Revision = m.seq
		h.follow(rec.Share(shard), f)
	}
	// Beyond the newest record nothing counts, even if an older one had proven it: that is a finding already.
	h.proofs = slices.DeleteFunc(h.proofs, func(p proof) bool { return p.last > h.newest.Proven })
	return h, nil
}

func (h *history) follow(rec bus.Share, f *findings) {
	h.records++
	switch {
	case rec.Recovered != nil:
		// It was counted then, frame by frame as far as there were frames; what came before is in it and is not compared
		// again. What it declares lost is part of the totals.
		h.proofs = []proof{{first: 1, last: rec.Proven, oldest: true, totals: rec.Totals}}
		h.recovered = append(h.recovered, rec)
		if rec.Proven < h.newest.Proven {
			f.add(KindLedgerGap, rec.Proven+1, h.newest.Proven, h.newest.Proven, rec.Proven, fmt.Sprintf("ledger record %d, of a recovery, goes back", rec.Revision))
		}
	case h.records == 1:
		if rec.Proven > 0 {
			h.proofs = append(h.proofs, proof{first: 1, last: rec.Proven, oldest: true, totals: rec.Totals})
		} else if rec.Totals != (bus.Totals{}) {
			f.add(KindTotals, 0, 0, 0, rec.Totals.In, "the ledger counts events before its first frame")
		}
	}
	if t := rec.Totals; !t.Adds() {
		f.add(KindTotals, 1, rec.Proven, t.In, t.Rows+t.Dead+t.Repeats+t.Lost, fmt.Sprintf(
			"ledger record %d: %d accepted, but %d rows, %d dead, %d repeats and %d lost", rec.Revision, t.In, t.Rows, t.Dead, t.Repeats, t.Lost))
	}
	if o := rec.Open; o != nil && (o.First != rec.Proven+1 || o.Last < o.First) {
		f.add(KindLedgerGap, rec.Proven+1, o.First, rec.Proven+1, o.First, fmt.Sprintf(
			"ledger record %d announces frames %d to %d after frame %d", rec.Revision, o.First, o.Last, rec.Proven))
	}
	if h.records > 1 && rec.Recovered == nil {
		h.link(rec, f)
	}
	h.newest = rec
}

// link checks a record against its predecessor.
func (h *history) link(rec bus.Share, f *findings) {
	old := h.newest
	switch {
	case rec.Proven == old.Proven:
		if rec.Totals != old.Totals {
			f.add(KindTotals, 1, rec.Proven, old.Totals.In, rec.Totals.In, fmt.Sprintf(
				"ledger records %d and %d prove the same frames with different totals", old.Revision, rec.Revision))
		}
		return
	case rec.Proven < old.Proven:
		f.add(KindLedgerGap, rec.Proven+1, old.Proven, old.Proven, rec.Proven, fmt.Sprintf("ledger record %d goes back", rec.Revision))
		return
	case old.Open == nil || old.Open.Last != rec.Proven:
		f.add(KindLedgerGap, old.Proven+1, rec.Proven, old.Proven, rec.Proven, fmt.Sprintf(
			"ledger record %d proves frames that record %d had not announced", rec.Revision, old.Revision))
	default:
		if want := old.After(); want != rec.Totals {
			f.add(KindTotals, old.Proven+1, rec.Proven, want.In, rec.Totals.In, fmt.Sprintf(
				"ledger record %d counts %+v, its predecessor and the block make %+v", rec.Revision, rec.Totals, want))
		}
	}
	p := proof{first: old.Proven + 1, last: rec.Proven, totals: minus(rec.Totals, old.Totals)}
	if len(old.Excluded) > 0 {
		p.refused = map[uint64]uint64{}
		for _, x := range old.Excluded {
			p.refused[x.Seq]++
		}
	}
	h.proofs = append(h.proofs, p)
}

// minus is a-b where counts only grow; where they did not, a finding has said so and the count stays at the bottom.
func minus(a, b bus.Totals) bus.Totals {
	less := func(x, y uint64) uint64 {
		if x < y {
			return 0
		}
		return x - y
	}
	return bus.Totals{In: less(a.In, b.In), Rows: less(a.Rows, b.Rows), Dead: less(a.Dead, b.Dead), Repeats: less(a.Repeats, b.Repeats), Lost: less(a.Lost, b.Lost)}
}
