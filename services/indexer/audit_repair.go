package indexer

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
)

// auditAttempts bound how often rows are sent that do not appear. Tokens of
// earlier audits of the same range, whose rows were lost again, cost some.
const auditAttempts = 10

// mayTries bound how often it is asked whether a shard may be written.
const mayTries = 10

// mayRepair says why a shard may not be written: it is shut, or would be if it
// were opened now, because its logs are no longer those of which the ledger
// speaks.
func (a *auditor) mayRepair(ctx context.Context, shard int) error {
	for try := 1; ; try++ {
		newest, err := a.s.newest(ctx)
		if err != nil {
			return err
		}
		// A block that the committer has announced and brought in meanwhile looks
		// like rows that the ledger does not know, until that is read again.
		share := newest.Share(shard)
		err = a.shard(shard).mayOpen(ctx, share.Proven+1, share.Known())
		if !errors.Is(err, ErrWentBack) || try == mayTries {
			return err
		}
	}
}

func (a *auditor) shard(id int) *shard {
	return a.s.shards[slices.IndexFunc(a.s.shards, func(sh *shard) bool { return sh.id == id })]
}

// repair inserts the rows of a range that are missing, from ENRICHED, and tells
// of those whose frames it no longer holds.
func (a *auditor) repair(ctx context.Context, x *audited) error {
	stream, err := a.s.js.Stream(ctx, a.s.names.StreamEnriched(x.Shard))
	if err != nil {
		return fmt.Errorf("look up ENRICHED: %w", err)
	}
	begins := stream.CachedInfo().State.FirstSeq
	if first := max(x.First, begins); first <= x.Last {
		rows, err := a.again(ctx, x, first)
		if err != nil {
			return err
		}
		if err := a.restore(ctx, x, rows); err != nil {
			return err
		}
	}
	before := x.have
	if x.have, err = a.t.Count(ctx, []bus.Range{x.Range}); err != nil {
		return err
	}
	if x.have > x.Totals.Rows {
		a.surplus([]audited{*x})
		return nil
	}
	a.s.metrics.auditInserted.Add(float64(x.have - min(before, x.have)))
	gone := x.Totals.Rows - x.have
	if gone == 0 {
		return nil
	}
	a.round.told[x.name()] = true
	a.round.gone += gone
	a.s.metrics.auditGone.Add(float64(gone))
	a.s.log.Error("rows that ClickHouse lost cannot be brought back: ENRICHED does not hold their frames any more; `millrace verify` names them",
		"shard", x.Shard, "first", x.First, "last", x.Last, "rows", gone, "enriched_begins", begins)
	return nil
}

// again reads the rows of a range from a frame on once more.
func (a *auditor) again(ctx context.Context, x *audited, first uint64) (*frame.Block, error) {
	b := a.s.newBatch()
	if err := a.shard(x.Shard).reread(ctx, b, first, x.Last); err != nil {
		return nil, fmt.Errorf("read frames %s again: %w", x.name(), err)
	}
	rows, err := newJoiner().join(b)
	if err != nil {
		return nil, err
	}
	rows = without(rows, x.excluded)
	if n := uint64(rows.Rows()); first == x.First && n != x.Totals.Rows {
		return nil, fmt.Errorf("%w: the ledger has proven %d rows of frames %s, ENRICHED holds %d", ErrWentBack, x.Totals.Rows, x.name(), n)
	}
	return rows, nil
}

// token names an attempt at a range, and nothing that two owners or two tries
// could see differently: one that was taken over meanwhile, or did not hear the
// answer, sends the same rows under the same token, and one of the two is
// dropped. The attempt grows only after ClickHouse has said yes and has not got
// the rows.
func (a *auditor) token(x *audited, attempt int) string {
	return fmt.Sprintf("audit:%d:%d:%d.%d-%d:%d", a.s.inst.Incarnation, a.s.id, x.Shard, x.First, x.Last, attempt)
}

// restore sends rows until they are there.
func (a *auditor) restore(ctx context.Context, x *audited, rows *frame.Block) error {
	for attempt := range auditAttempts {
		present, err := a.t.Present(ctx, []bus.Range{x.Range})
		if err != nil {
			return err
		}
		missing := absent(rows, present)
		if missing.Rows() == 0 {
			return nil
		}
		if _, err := a.s.newest(ctx); err != nil {
			return err
		}
		if err := a.t.Insert(ctx, missing, a.token(x, attempt)); err != nil {
			return err
		}
		a.s.metrics.repairs.Inc()
	}
	return fmt.Errorf("rows of frames %s were sent %d times and are not there", x.name(), auditAttempts)
}
