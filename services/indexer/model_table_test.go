package indexer

import (
	"context"
	"fmt"
	"slices"

	"github.com/ClickHouse/ch-go"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/testkit/explore"
)

// The calls by which an owner of the model reaches the table, as store.

func (o *owner) Insert(_ context.Context, b *frame.Block, token string) error {
	w, sent := o.w, o.w.added
	all, ok := w.in.places[b]
	if !ok {
		all = placesOf(b)
	}
	o.step("insert")
	if len(all) == 0 {
		return o.saw(nil)
	}
	way := w.Fault(fault, 8)
	if !w.arrives(token, sent) {
		way = 1
	}
	o.tells("insert "+token, way, "", "lost", "crash", "late", "killed with the token of partition 0", "killed with the token of partition 1", "killed after partition 0", "reply lost")
	switch way {
	case 1:
		return o.saw(errNetwork)
	case 2:
		panic(crash{})
	case 3:
		w.late = append(w.late, late{"insert " + token, func() {
			if w.arrives(token, sent) {
				_ = w.store(all, token)
			}
		}, explore.MixText(uint64(len(all))<<32+uint64(sent), token)})
		return o.saw(errNetwork)
	}
	if slices.ContainsFunc(all, func(p place) bool { return w.in.poison[p] }) {
		err := w.store(all, token)
		o.saw(err)
		return err
	}
	switch way {
	case 4: // between noting the token and the rename
		w.write(all, 0, token, true)
	case 5: // the same at the second partition
		w.write(all, 0, token, false)
		w.write(all, 1, token, true)
	case 6:
		w.write(all, 0, token, false)
	default:
		if err := w.store(all, token); err != nil {
			return o.saw(err)
		}
	}
	if way > 0 {
		return o.saw(errNetwork)
	}
	return o.saw(nil)
}

func (o *owner) Probe(_ context.Context, b *frame.Block) error {
	o.step("probe")
	if err := o.mayFail(); err != nil {
		return err
	}
	for _, p := range placesOf(b) {
		if o.w.in.poison[p] {
			return o.saw(&ch.Exception{Code: 469, Message: fmt.Sprintf("constraint is violated by %v", p)})
		}
	}
	return o.saw(nil)
}

// covers says whether a row is of one of the ranges.
func covers(ranges []bus.Range, p place) bool {
	return slices.ContainsFunc(ranges, func(r bus.Range) bool {
		return r.Shard == int(p.shard) && r.First <= p.seq && p.seq <= r.Last
	})
}

func (o *owner) Count(_ context.Context, ranges []bus.Range) (uint64, error) {
	o.step("count")
	if err := o.mayFail(); err != nil {
		return 0, err
	}
	n := 0
	for p, times := range o.w.rows {
		if covers(ranges, p) {
			n += times
		}
	}
	o.saw(nil, uint64(n))
	o.rest()
	return uint64(n), nil
}

func (o *owner) Present(_ context.Context, ranges []bus.Range) (map[place]struct{}, error) {
	o.step("list")
	if err := o.mayFail(); err != nil {
		return nil, err
	}
	found := map[place]struct{}{}
	for i, p := range modelPlaces {
		if o.w.rows[p] > 0 && covers(ranges, p) {
			found[p] = struct{}{}
			o.saw(nil, uint64(i))
		}
	}
	return found, nil
}

func (o *owner) bury(_ context.Context, open *bus.Intent) error {
	if len(open.Excluded) == 0 {
		return nil
	}
	o.step("bury")
	if err := o.mayFail(); err != nil {
		return err
	}
	for _, x := range open.Excluded {
		o.w.letters[place{uint16(x.Shard), x.Seq, x.Idx}] = true
	}
	return o.saw(nil)
}
