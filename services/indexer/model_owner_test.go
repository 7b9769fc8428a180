package indexer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/testkit/explore"
)

// What the owners of a model's sink have to bring into the table: so many
// frames of each shard, so many rows of each. The numbers of the shards'
// frames are the same, so that a count which mixes up shards is wrong.
const (
	modelShards = 2
	modelFrames = 2
	modelRows   = 2
)

// modelPlaces are all rows.
var modelPlaces = func() (all []place) {
	for shard := range uint16(modelShards) {
		for seq := range uint64(modelFrames) {
			for idx := range uint32(modelRows) {
				all = append(all, place{shard, seq + 1, idx})
			}
		}
	}
	return all
}()

// fate is what became of an owner.
type fate int

const (
	alive   fate = iota
	gone         // killed, or ended by an error
	fenced       // another owner wrote the ledger
	through      // it has proven everything
)

type crash struct{}

// owner is one life of a sink's owner. The world lets one at a time go on, to
// its next call.
type owner struct {
	w     *world
	n     int
	fate  fate
	seen  uint64        // digest of all it has been told: its state follows from it
	turn  chan struct{} // has a value when it may go on; closed to end it
	rests chan struct{} // has a value when it waits, is closed when it has ended

	proved, recorded [modelShards]uint64 // as the trimmers of the shards see it
}

// begin adds an owner that has not made its first step.
func (w *world) begin() *owner {
	o := &owner{w: w, n: w.lives}
	w.lives++
	o.seen = explore.Mix(7, uint64(o.n), uint64(w.elapsed))
	o.turn, o.rests = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(o.rests)
		if _, ok := <-o.turn; ok {
			o.fate = o.life()
		}
	}()
	w.owners = append(w.owners, o)
	return o
}

// next lets it go on to its next call.
func (o *owner) next() {
	o.turn <- struct{}{}
	<-o.rests
}

// stop ends it where it is.
func (o *owner) stop() {
	close(o.turn)
	<-o.rests
}

func (o *owner) life() (end fate) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(crash); !ok {
				panic(r)
			}
			end = gone
		}
	}()
	err := o.work()
	o.w.Tell("owner %d ends: %v", o.n, err)
	switch {
	case err == nil:
		return through
	case errors.Is(err, bus.ErrFenced):
		return fenced
	case errors.Is(err, ErrDoubled):
		o.w.breaks("owner %d: %w", o.n, err)
	}
	return gone
}

// step is the moment before a call has any effect.
func (o *owner) step(what string) {
	o.seen = explore.MixText(o.seen, what)
	o.rests <- struct{}{}
	if _, ok := <-o.turn; !ok {
		panic(crash{})
	}
	o.seen = explore.Mix(o.seen, uint64(o.w.elapsed))
}

// rest is the moment after an answer, where that is another moment than the one
// before the next call: when time counts.
func (o *owner) rest() {
	if o.w.in.window > 0 || o.w.in.budget[nap] > 0 {
		o.step("rest")
	}
}

// saw notes what an owner was told.
func (o *owner) saw(err error, values ...uint64) error {
	if err != nil {
		o.seen = explore.MixText(o.seen, err.Error())
	}
	o.seen = explore.Mix(o.seen, values...)
	return err
}

func (o *owner) tells(what any, way int, ways ...string) {
	how := ""
	if way > 0 {
		how = ": " + ways[way]
	}
	o.w.Tell("         %v%s", what, how)
}

// Append implements journal on the simulated stream, as the sink does.
func (o *owner) Append(ctx context.Context, rec *bus.Record, expect uint64) error {
	if err := bus.LedgerAppend(ctx, js{o: o}, ledger{o: o}, modelNames, rec, expect); err != nil {
		return err
	}
	for i, p := range rec.Shards {
		o.recorded[i] = p.Proven
	}
	o.trim()
	return nil
}

func (o *owner) Newest(ctx context.Context) (uint64, error) {
	rec, _, err := bus.LedgerLast(ctx, ledger{o: o}, modelNames, 0)
	return rec.Revision, err
}

var modelNames = bus.Names{Prefix: bus.DefaultPrefix}

// trim does to ENRICHED what shard.trimOnce may do.
func (o *owner) trim() {
	for i := range o.w.trimmed {
		upTo := min(o.proved[i], o.recorded[i])
		if o.w.in.variant.trimsEarly {
			upTo = o.proved[i]
		}
		o.w.trimmed[i] = max(o.w.trimmed[i], upTo)
	}
}

type noDelay struct{}

func (noDelay) wait(context.Context) error { return nil }

// work takes the sink over, settles what is open, and goes on to the end.
func (o *owner) work() error {
	ctx, in := context.Background(), o.w.in
	c := &committer{
		store: o, journal: o, metrics: in.metrics, log: slog.New(slog.DiscardHandler),
		backoff: func() delays { return noDelay{} }, bury: o.bury, owner: fmt.Sprint(o.n),
	}
	last, ok, err := bus.LedgerLast(ctx, ledger{o: o}, modelNames, 0)
	if err != nil {
		return err
	}
	if !ok {
		last.Shards = make([]bus.Proof, modelShards)
		for i := range last.Shards {
			last.Shards[i].Shard = i
		}
	}
	mine := last
	mine.Owner = c.owner
	c.ours = time.Now()
	if err := o.Append(ctx, &mine, last.Revision); err != nil {
		return err
	}
	c.last = mine
	settle := in.variant.settle
	if settle == nil {
		settle = (*committer).settle
	}
	if open := mine.Open; open != nil {
		for _, r := range open.Ranges {
			if o.w.trimmed[r.Shard] >= r.First {
				o.w.breaks("frame %d of shard %d is trimmed and its block is open", r.First, r.Shard)
				return errors.New("the open block cannot be read again")
			}
		}
		if err := settle(c, ctx, in.block(open.Ranges).rows, false); err != nil {
			return err
		}
		o.provedTo(c)
	}
	for {
		o.between(c)
		ranges := o.cut(c.state())
		if len(ranges) == 0 {
			return c.close(ctx)
		}
		b := in.block(ranges)
		intent := b.intent
		if commit := in.variant.commit; commit != nil {
			err = commit(c, ctx, &intent, b.rows)
		} else if err = c.append(ctx, &intent); err == nil {
			err = settle(c, ctx, b.rows, true)
		}
		if err != nil {
			return err
		}
		o.provedTo(c)
	}
}

// between two blocks an owner is what its committer says, however it came there.
func (o *owner) between(c *committer) {
	o.seen = explore.Mix(11, uint64(o.n), c.last.Revision, uint64(time.Since(c.ours).Seconds()))
	o.seen = explore.Mix(explore.Mix(o.seen, o.proved[:]...), o.recorded[:]...)
	if c.proven {
		o.seen++
	}
	last, err := json.Marshal(c.last)
	if err != nil {
		panic(err)
	}
	o.seen = explore.MixText(o.seen, timeless(last))
}

func (o *owner) provedTo(c *committer) {
	for i, p := range c.state() {
		o.proved[i] = p.Proven
	}
	o.trim()
}

// cut is the next block. Owners do not cut alike: what one has announced must
// hold for the other all the same.
func (o *owner) cut(from []bus.Proof) (ranges []bus.Range) {
	for shard, p := range from {
		if p.Proven == modelFrames {
			continue
		}
		n := uint64(1 + (o.n+shard)%2)
		ranges = append(ranges, bus.Range{Shard: shard, First: p.Proven + 1, Last: min(p.Proven+n, modelFrames)})
	}
	return ranges
}

// block is what the committer is given: an intent and its rows.
type block struct {
	intent bus.Intent
	rows   *frame.Block
}

// block makes the block of some ranges, once.
func (in *scenario) block(ranges []bus.Range) block {
	var key string
	for _, r := range ranges {
		key += fmt.Sprint(r.Shard, r.First, r.Last, ";")
	}
	if b, ok := in.blocks[key]; ok {
		return b
	}
	b := newBlock(ranges)
	in.blocks[key], in.places[b.rows] = b, placesOf(b.rows)
	return b
}

func newBlock(ranges []bus.Range) block {
	b := block{rows: frame.NewBlock(frame.RowSchema)}
	for _, r := range ranges {
		r.Totals = bus.Totals{}
		for seq := r.First; seq <= r.Last; seq++ {
			for idx := range uint32(modelRows) {
				addRow(b.rows, uint16(r.Shard), seq, idx, "")
				r.Totals = r.Totals.Plus(bus.Totals{In: 1, Rows: 1})
			}
		}
		b.intent.Ranges = append(b.intent.Ranges, r)
	}
	return b
}

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
