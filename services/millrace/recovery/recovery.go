package recovery

import (
	"context"
	"fmt"
	"slices"

	"github.com/millrace/millrace/libs/bus"
)

// Recovery looks at an installation and carries it over.
type Recovery struct{ cfg Config }

// New checks the configuration; it connects to nothing yet.
func New(cfg Config) (*Recovery, error) {
	if err := cfg.defaults(); err != nil {
		return nil, err
	}
	return &Recovery{cfg}, nil
}

// Look says what is wrong and what Apply would do, and changes nothing.
func (v *Recovery) Look(ctx context.Context) (Report, error) {
	r, err := open(ctx, v.cfg)
	if err != nil {
		return Report{}, err
	}
	defer r.close()
	d, err := r.decided(ctx)
	if err != nil {
		return Report{}, err
	}
	if d != nil && !r.reopened(d) {
		d.Report.Unfinished = true
		return d.Report, nil
	}
	// Between two looks at running streams they differ.
	if err := r.watch(ctx); err != nil {
		return Report{}, err
	}
	if err := r.list(ctx); err != nil {
		return Report{}, err
	}
	rep, err := r.plan(ctx)
	rep.Unfinished = r.marked
	return rep, err
}

// plan looks at everything and decides what is to be done.
func (r *run) plan(ctx context.Context) (Report, error) {
	r.problems, r.moves = slices.Clone(r.told), len(r.told) > 0
	if err := r.look(ctx); err != nil {
		return Report{}, err
	}
	for _, s := range r.shards {
		if err := r.walk(ctx, s, func(*outcome) error { return nil }); err != nil {
			return Report{}, fmt.Errorf("shard %d: %w", s.id, err)
		}
		if err := r.conclude(ctx, s); err != nil {
			return Report{}, fmt.Errorf("shard %d: %w", s.id, err)
		}
	}
	return r.report(), nil
}

// conclude turns what the walk has found into what is lost.
func (r *run) conclude(ctx context.Context, s *shard) error {
	rep := &s.rep
	for _, what := range sortedKeys(s.bad) {
		s.problem("%d %s", s.bad[what], what)
	}
	if rep.InsertProven > 0 && !s.short {
		s.say("ClickHouse lacks %d rows of proven frames", rep.InsertProven)
	}
	if rep.LettersProven > 0 {
		s.say("ClickHouse lacks %d dead letters that were out", rep.LettersProven)
	}
	rep.Letters += s.deadHeld
	rep.LettersProven += s.deadAcked
	rep.LostRows = less(rep.Totals.Rows, s.found.low+rep.InsertProven+rep.AgainProven)
	rep.LostLetters += less(rep.Totals.Dead, s.found.deadLow+s.lettersLow)
	rep.Lost = rep.LostRows + rep.LostLetters
	rep.Unknown, rep.UnknownRanges = s.unknown.count, s.unknown.ranges
	if rep.Lost > 0 || rep.AgainProven > 0 {
		s.moves = true
	}
	if rep.LostRows == 0 {
		return nil
	}
	return r.lostRanges(ctx, s)
}

// lostRanges names the ranges of the ledger's history that have fewer rows than
// it counts. What it no longer tells apart is one range.
func (r *run) lostRanges(ctx context.Context, s *shard) error {
	type span struct{ from, to, want, have uint64 }
	var spans []span
	var last bus.Share
	for m, err := range each(ctx, r.js, r.names.StreamLedger(), r.names.Ledger(r.inst.SinkOf(s.id)), 1) {
		if err != nil {
			return err
		}
		rec, err := bus.DecodeRecord(m.data)
		if err != nil {
			continue // a problem has said so
		}
		share := rec.Share(s.id)
		if share.Recovered != nil { // it counts all that was before
			spans, last = nil, bus.Share{}
		}
		if share.Proven > last.Proven {
			spans = append(spans, span{from: last.Proven + 1, to: share.Proven, want: less(share.Totals.Rows, last.Totals.Rows)})
		}
		last = share
	}
	at := 0
	err := r.table.rowCounts(ctx, s.id, s.rep.Proven, func(seq, rows uint64) {
		for at < len(spans) && seq > spans[at].to {
			at++
		}
		if at < len(spans) && seq >= spans[at].from {
			spans[at].have += rows
		}
	})
	if err != nil {
		return err
	}
	for _, x := range spans {
		if x.have >= x.want {
			continue
		}
		ranges := &s.rep.LostRanges
		switch k := len(*ranges); {
		case k > 0 && ((*ranges)[k-1][1] == x.from-1 || k == mostRanges):
			(*ranges)[k-1][1] = x.to
		default:
			*ranges = append(*ranges, [2]uint64{x.from, x.to})
		}
	}
	return nil
}

func less(a, b uint64) uint64 {
	if a < b {
		return 0
	}
	return a - b
}

// report puts together what was found.
func (r *run) report() Report {
	rep := Report{Do: DoNothing, Incarnation: r.inst.Incarnation, Problems: r.problems, In: r.in, At: r.at}
	moves, mends := r.moves, false
	for _, s := range r.shards {
		moves = moves || s.moves
		mends = mends || s.rep.InsertProven > 0 || s.rep.LettersProven > 0
	}
	switch {
	case moves:
		rep.Do, rep.Next = DoMove, max(uint64(r.at.UnixMilli()), r.inst.Incarnation+1)
	case mends || r.table.none():
		rep.Do = DoMend
	}
	for _, s := range r.shards {
		if rep.Do == DoMove {
			s.rep.Begins = beyond(s.rep.Highest) + 1
		}
		rep.Shards = append(rep.Shards, s.rep)
	}
	return rep
}

// Healthy says that there was nothing to find.
func (r *Report) Healthy() bool {
	if r.Do != DoNothing || r.Unfinished || len(r.Problems) > 0 {
		return false
	}
	for i := range r.Shards {
		if len(r.Shards[i].Problems) > 0 {
			return false
		}
	}
	return true
}

// step is the round number that new frames begin after: acknowledged frames may
// be gone without a trace, and nobody shall wait for one of them and get
// another. It is more than a shard takes in the two minutes that NATS may lose
// with the power.
const step = 1_000_000

func beyond(highest uint64) uint64 { return (highest/step + 2) * step }
