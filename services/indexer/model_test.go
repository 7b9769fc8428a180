package indexer

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ClickHouse/ch-go"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
)

// The model runs the committer's own code against a simulated ledger and a
// simulated ClickHouse, and explores every interleaving of crashes, lost
// replies, orphan tokens, half-written blocks and paused twins up to a number
// of faults.

// chooser replays a list of decisions and answers 0 (no fault) beyond it.
type chooser struct {
	path   []int // decisions to take
	widths []int // options there were at each decision
}

func (c *chooser) choose(options int) int {
	i := len(c.widths)
	c.widths = append(c.widths, options)
	if i < len(c.path) {
		return c.path[i]
	}
	return 0
}

// explore calls run with every decision list that has at most `faults`
// decisions other than 0.
func explore(faults int, run func(c *chooser) error) (runs int, err error) {
	var walk func(path []int, left int) error
	walk = func(path []int, left int) error {
		c := &chooser{path: path}
		runs++
		if err := run(c); err != nil {
			return fmt.Errorf("decisions %v: %w", path, err)
		}
		if left == 0 {
			return nil
		}
		for i := len(path); i < len(c.widths); i++ {
			for option := 1; option < c.widths[i]; option++ {
				next := make([]int, i+1)
				copy(next, path)
				next[i] = option
				if err := walk(next, left-1); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return runs, walk(nil, faults)
}

type crash struct{}

// world is the outside of the committer. Rows fall into two partitions by
// _idx, each written and deduplicated on its own, as in ClickHouse.
type world struct {
	*chooser
	records []bus.Record
	rows    map[place]int
	tokens  map[string]bool
	late    []func() // inserts of paused owners, still to arrive
	poison  map[place]bool
	letters map[place]bool
}

var errNetwork = errors.New("connection lost")

func (w *world) Append(_ context.Context, rec *bus.Record, expect uint64) error {
	fate := w.choose(3)
	if fate == 1 {
		panic(crash{})
	}
	if uint64(len(w.records)) != expect {
		return bus.ErrFenced
	}
	w.records = append(w.records, *rec)
	rec.Revision = uint64(len(w.records))
	if fate == 2 {
		panic(crash{})
	}
	return nil
}

func (w *world) Newest(context.Context) (uint64, error) { return uint64(len(w.records)), nil }

func placesOf(b *frame.Block) []place {
	v := frame.NewView(frame.RowSchema)
	if err := v.Parse(b.AppendNative(nil)); err != nil {
		panic(err)
	}
	var all []place
	for r := range v.Rows() {
		all = append(all, place{v.U16(frame.ColShard, r), v.U64(frame.ColSeq, r), v.U32(frame.ColIdx, r)})
	}
	return all
}

// write stores the rows of one partition unless its token is known. With
// orphan, the token is noted and the rows are lost.
func (w *world) write(all []place, partition uint32, token string, orphan bool) {
	var mine []place
	for _, p := range all {
		if p.idx%2 == partition {
			mine = append(mine, p)
		}
	}
	key := fmt.Sprint(partition, token)
	if len(mine) == 0 || w.tokens[key] {
		return
	}
	w.tokens[key] = true
	if !orphan {
		for _, p := range mine {
			w.rows[p]++
		}
	}
}

func (w *world) refuses(all []place) error {
	for _, p := range all {
		if w.poison[p] {
			return &ch.Exception{Code: 469, Message: fmt.Sprintf("constraint is violated by %v", p)}
		}
	}
	return nil
}

func (w *world) arrivals() {
	if len(w.late) > 0 && w.choose(2) == 1 {
		w.late[0]()
		w.late = w.late[1:]
	}
}

func (w *world) Insert(_ context.Context, b *frame.Block, token string) error {
	w.arrivals()
	all := placesOf(b)
	if len(all) == 0 {
		return nil
	}
	fate := w.choose(9)
	if fate == 1 {
		return errNetwork
	}
	if fate == 2 {
		panic(crash{})
	}
	if fate == 3 { // the owner is paused, dies, and its insert arrives later
		w.late = append(w.late, func() {
			if w.refuses(all) == nil {
				w.write(all, 0, token, false)
				w.write(all, 1, token, false)
			}
		})
		panic(crash{})
	}
	if err := w.refuses(all); err != nil {
		return err
	}
	switch fate {
	case 4: // the server is killed between noting the token and the rename
		w.write(all, 0, token, true)
		return errNetwork
	case 5: // the same at the second partition
		w.write(all, 0, token, false)
		w.write(all, 1, token, true)
		return errNetwork
	case 6: // the server is killed between the partitions
		w.write(all, 0, token, false)
		return errNetwork
	}
	w.write(all, 0, token, false)
	w.write(all, 1, token, false)
	switch fate {
	case 7: // the reply is lost
		return errNetwork
	case 8:
		panic(crash{})
	}
	return nil
}

func (w *world) Probe(_ context.Context, b *frame.Block) error {
	if w.choose(2) == 1 {
		return errNetwork
	}
	return w.refuses(placesOf(b))
}

// covers says whether a row is of one of the ranges.
func covers(ranges []bus.Range, p place) bool {
	return slices.ContainsFunc(ranges, func(r bus.Range) bool {
		return r.Shard == int(p.shard) && r.First <= p.seq && p.seq <= r.Last
	})
}

func (w *world) Count(_ context.Context, ranges []bus.Range) (uint64, error) {
	w.arrivals()
	if w.choose(2) == 1 {
		return 0, errNetwork
	}
	n := 0
	for p, times := range w.rows {
		if covers(ranges, p) {
			n += times
		}
	}
	return uint64(n), nil
}

func (w *world) Present(_ context.Context, ranges []bus.Range) (map[place]struct{}, error) {
	found := map[place]struct{}{}
	for p := range w.rows {
		if covers(ranges, p) {
			found[p] = struct{}{}
		}
	}
	return found, nil
}

func (w *world) bury(_ context.Context, open *bus.Intent) error {
	for _, x := range open.Excluded {
		w.letters[place{uint16(x.Shard), x.Seq, x.Idx}] = true
	}
	return nil
}

type noDelay struct{}

func (noDelay) wait(context.Context) error { return nil }

// block is what the committer is given: an intent and its rows.
type block struct {
	intent bus.Intent
	rows   *frame.Block
}

// modelRanges are the frames of two blocks of a sink with two shards. Their
// numbers overlap, so that a count which mixes up shards is wrong.
var modelRanges = [][]bus.Range{
	{{Shard: 0, First: 1, Last: 2}, {Shard: 1, First: 1, Last: 1}},
	{{Shard: 0, First: 3, Last: 3}, {Shard: 1, First: 2, Last: 3}},
}

// modelRows is the number of rows of each frame.
const modelRows = 2

func modelBlocks() []block {
	var all []block
	for _, ranges := range modelRanges {
		b := block{rows: frame.NewBlock(frame.RowSchema)}
		for _, r := range ranges {
			for seq := r.First; seq <= r.Last; seq++ {
				for idx := range uint32(modelRows) {
					addRow(b.rows, uint16(r.Shard), seq, idx, "")
					r.Totals = r.Totals.Plus(bus.Totals{In: 1, Rows: 1})
				}
			}
			b.intent.Ranges = append(b.intent.Ranges, r)
		}
		all = append(all, b)
	}
	return all
}

// modelPlaces are the rows of all blocks.
func modelPlaces() []place {
	var all []place
	for _, b := range modelBlocks() {
		all = append(all, placesOf(b.rows)...)
	}
	return all
}

// addRow writes a row with empty columns but for its place and an event name.
func addRow(b *frame.Block, shard uint16, seq uint64, idx uint32, event string) {
	for i, c := range frame.Columns {
		switch {
		case i == frame.ColSeq:
			b.U64(i, seq)
		case i == frame.ColIdx:
			b.U32(i, idx)
		case i == frame.ColEvent:
			b.Text(i, event)
		case c.Type == "String":
			b.Text(i, "")
		case c.Type == "UInt16":
			b.U16(i, shard)
		case c.Type == "Bool":
			b.Bool(i, false)
		case c.Type == "DateTime64(3, 'UTC')":
			b.Millis(i, 1_700_000_000_000)
		}
	}
	b.EndRow()
}
