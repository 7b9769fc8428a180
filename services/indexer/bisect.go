package indexer

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/failpoint"
)

// maxExcluded is how many rows of one block may be refused for their content.
// More means that the table refuses nearly everything: then nothing is thrown
// away and the sink waits for somebody to mend the table.
const maxExcluded = 10_000

// maxWhy bounds an error text that is kept, and maxWhys how many different ones
// of a block: ClickHouse repeats the values of the row in them, and the ledger's
// record must stay a message. Further rows get the last text.
const (
	maxWhy  = 300
	maxWhys = 500
)

// refused decides what an error of an insert means. An error of content sets
// the poisoned rows apart: they are found against a probe table, so that
// nothing is stored while looking, and named in the ledger before the rest is
// sent again. Every other error is only handed back, to be tried again.
func (c *committer) refused(ctx context.Context, rows *frame.Block, cause error) error {
	if !isContent(cause) {
		return cause
	}
	view := frame.NewView(frame.RowSchema)
	if err := view.Parse(rows.AppendNative(nil)); err != nil {
		return err
	}
	c.metrics.bisects.Inc()
	p := poison{store: c.store, view: view, why: map[string]int{}}
	p.intent = *c.last.Open
	for i, w := range p.intent.Whys {
		p.why[w] = i
	}
	if err := p.search(ctx, 0, view.Rows()); err != nil {
		return err
	}
	found := len(p.intent.Excluded) - len(c.last.Open.Excluded)
	if found == 0 {
		// What refuses is not a property of the row alone (a view behind the
		// table, say): no event may die for it.
		return fmt.Errorf("no single row is at fault: %w", cause)
	}
	c.metrics.poisoned.Add(float64(found))
	c.log.Warn("rows that ClickHouse refuses become dead letters", "frames", frames(c.last.Open), "rows", found, "err", cause)
	failpoint.At(failpoint.IndexerExcludeBefore)
	err := c.append(ctx, &p.intent)
	failpoint.At(failpoint.IndexerExcludeAfter)
	return err
}

// poison looks for the rows of a view that a probe refuses.
type poison struct {
	store  store
	view   *frame.View
	intent bus.Intent
	why    map[string]int
}

// search tests rows from..to. Where they are refused it looks first at the row
// that ClickHouse names, which costs three questions for each row that is at
// fault, and halves them where it names none or the wrong one.
func (p *poison) search(ctx context.Context, from, to int) error {
	b := frame.NewBlock(frame.RowSchema)
	for r := from; r < to; r++ {
		b.AppendRow(p.view, r)
	}
	err := p.store.Probe(ctx, b)
	switch {
	case err == nil:
		return nil
	case !isContent(err):
		return err
	case to-from > 1:
		if at := from + named(err); at >= from && at < to {
			known := len(p.intent.Excluded)
			if err := p.search(ctx, at, at+1); err != nil {
				return err
			}
			if len(p.intent.Excluded) > known {
				return errors.Join(p.rest(ctx, from, at), p.rest(ctx, at+1, to))
			}
		}
		mid := (from + to) / 2
		if err := p.search(ctx, from, mid); err != nil {
			return err
		}
		return p.search(ctx, mid, to)
	case len(p.intent.Excluded) == maxExcluded:
		return fmt.Errorf("more than %d rows of one block are refused; the sink waits until the table takes them: %s", maxExcluded, whyText(err))
	}
	text := whyText(err)
	n, ok := p.why[text]
	switch {
	case ok:
	case len(p.intent.Whys) == maxWhys:
		n = maxWhys - 1
	default:
		n = len(p.intent.Whys)
		p.why[text] = n
		p.intent.Whys = append(p.intent.Whys[:n:n], text)
	}
	excluded := p.intent.Excluded
	p.intent.Excluded = append(slices.Clip(excluded), bus.Exclusion{
		Shard: int(p.view.U16(frame.ColShard, from)), Seq: p.view.U64(frame.ColSeq, from), Idx: p.view.U32(frame.ColIdx, from), Why: n,
	})
	return nil
}

// rest searches rows that may be none.
func (p *poison) rest(ctx context.Context, from, to int) error {
	if from == to {
		return nil
	}
	return p.search(ctx, from, to)
}

// namedRow is how ClickHouse tells which row of a block breaks a constraint,
// counted from 1.
var namedRow = regexp.MustCompile(`is violated at row (\d+)`)

// named is the index of the row that an error names, -1 for none. It is only a
// hint: the row is asked about by itself.
func named(err error) int {
	found := namedRow.FindStringSubmatch(err.Error())
	if found == nil {
		return -1
	}
	n, err := strconv.Atoi(found[1])
	if err != nil {
		return -1
	}
	return n - 1
}

// without is the block less the excluded rows; the same block if there are
// none.
func without(rows *frame.Block, excluded []bus.Exclusion) *frame.Block {
	if len(excluded) == 0 {
		return rows
	}
	out := map[place]struct{}{}
	for _, e := range excluded {
		out[place{uint16(e.Shard), e.Seq, e.Idx}] = struct{}{}
	}
	return absent(rows, out)
}

// absent is the rows that are not in the set.
func absent(rows *frame.Block, present map[place]struct{}) *frame.Block {
	view := frame.NewView(frame.RowSchema)
	if err := view.Parse(rows.AppendNative(nil)); err != nil {
		panic(fmt.Sprintf("indexer: a block that was just built cannot be read: %v", err))
	}
	b := frame.NewBlock(frame.RowSchema)
	for r := range view.Rows() {
		if _, ok := present[place{view.U16(frame.ColShard, r), view.U64(frame.ColSeq, r), view.U32(frame.ColIdx, r)}]; !ok {
			b.AppendRow(view, r)
		}
	}
	return b
}
