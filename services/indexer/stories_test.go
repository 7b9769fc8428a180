package indexer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
)

type settleFunc func(ctx context.Context, c *committer, rows *frame.Block, fresh bool) error

func protocol(ctx context.Context, c *committer, rows *frame.Block, fresh bool) error {
	return c.settle(ctx, rows, fresh)
}

// live is one life of an owner: it takes over, settles what is open, and goes
// on. It reports whether it got to the end.
func (w *world) live(settle settleFunc) (done bool, err error) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(crash); !ok {
				panic(r)
			}
		}
	}()
	ctx := context.Background()
	c := &committer{
		store: w, journal: w, metrics: newMetrics(prometheus.NewRegistry()), log: slog.New(slog.DiscardHandler),
		backoff: func() delays { return noDelay{} }, bury: w.bury,
	}
	last := bus.Record{Shards: []bus.Proof{{Shard: 0}, {Shard: 1}}}
	if n := len(w.records); n > 0 {
		last = w.records[n-1]
	}
	mine := last
	if err := w.Append(ctx, &mine, uint64(len(w.records))); err != nil {
		return false, err
	}
	c.last = mine
	for _, b := range modelBlocks() {
		first := b.intent.Ranges[0]
		at := c.last.Share(first.Shard)
		switch {
		case at.Open != nil && at.Open.First == first.First:
			err = settle(ctx, c, b.rows, false)
		case at.Known() >= first.Last:
			continue
		default:
			if err = c.append(ctx, &b.intent); err == nil {
				err = settle(ctx, c, b.rows, true)
			}
		}
		if err != nil {
			return false, err
		}
		c.proven = true
	}
	return true, c.close(ctx)
}

// story runs owners until one gets to the end and checks what is in the table.
func story(c *chooser, settle settleFunc, poison ...place) error {
	w := &world{chooser: c, rows: map[place]int{}, tokens: map[string]bool{}, poison: map[place]bool{}, letters: map[place]bool{}}
	for _, p := range poison {
		w.poison[p] = true
	}
	for lives := 0; ; lives++ {
		done, err := w.live(settle)
		if err != nil {
			return err
		}
		if done {
			break
		}
		if lives > 20 {
			return errors.New("it never ends")
		}
	}
	for _, arrive := range w.late {
		arrive()
	}
	want := []bus.Proof{{Shard: 0, Proven: 3}, {Shard: 1, Proven: 3}}
	for _, p := range modelPlaces() {
		times, sum := 1, &want[p.shard].Totals
		sum.In++
		if w.poison[p] {
			times = 0
			sum.Dead++
		} else {
			sum.Rows++
		}
		if w.rows[p] != times || w.letters[p] != w.poison[p] {
			return fmt.Errorf("row %v is there %d times, want %d; dead letter %v", p, w.rows[p], times, w.letters[p])
		}
	}
	last := w.records[len(w.records)-1]
	if !slices.Equal(last.Shards, want) || last.Open != nil {
		return fmt.Errorf("the ledger ends with %+v, want %+v", last, want)
	}
	return nil
}

func TestEveryInterleavingOfThreeFaultsIsExact(t *testing.T) {
	runs, err := explore(3, func(c *chooser) error { return story(c, protocol) })
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d stories", runs)
}

func TestEveryInterleavingWithAPoisonedRowIsExact(t *testing.T) {
	runs, err := explore(2, func(c *chooser) error { return story(c, protocol, place{0, 2, 1}) })
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d stories", runs)
}

// The protocol that everybody writes first must be caught, or the model sees
// nothing.
func TestTheModelCatchesTrustInTheTokenAlone(t *testing.T) {
	tokenOnly := func(ctx context.Context, c *committer, rows *frame.Block, _ bool) error {
		for c.store.Insert(ctx, rows, c.last.Token()) != nil {
		}
		return nil
	}
	if _, err := explore(1, func(c *chooser) error { return story(c, tokenOnly) }); err == nil {
		t.Fatal("no story of one fault loses a row")
	}
}

func TestTheModelCatchesAnAnswerTakenAsProofAfterDoubt(t *testing.T) {
	alwaysFresh := func(ctx context.Context, c *committer, rows *frame.Block, _ bool) error {
		for {
			if done, err := c.try(ctx, rows, true); done || errors.Is(err, bus.ErrFenced) {
				return err
			}
		}
	}
	if _, err := explore(1, func(c *chooser) error { return story(c, alwaysFresh) }); err == nil {
		t.Fatal("no story of one fault loses a row")
	}
}

// After a power failure ClickHouse may hold a part whose token it has lost.
func TestRowsThatAreThereAreNotSentAgainWithTheirToken(t *testing.T) {
	w := &world{chooser: &chooser{}, rows: map[place]int{}, tokens: map[string]bool{}, poison: map[place]bool{}, letters: map[place]bool{}}
	first := modelBlocks()[0]
	w.records = []bus.Record{{Shards: []bus.Proof{{Shard: 0}, {Shard: 1}}, Open: &first.intent, Revision: 1}}
	for _, p := range placesOf(first.rows) {
		if p.idx%2 == 0 { // one partition of two
			w.rows[p] = 1
		}
	}
	if done, err := w.live(protocol); !done || err != nil {
		t.Fatalf("done %v, %v", done, err)
	}
	for p, n := range w.rows {
		if n != 1 {
			t.Errorf("row %v is there %d times", p, n)
		}
	}
	if len(w.rows) != 12 {
		t.Errorf("%d rows, want 12", len(w.rows))
	}
}

// refusing is a table that refuses every row, each with words of its own, and
// with what a client has written in them.
type refusing struct{ store }

func (refusing) Probe(_ context.Context, b *frame.Block) error {
	return &ch.Exception{Code: 469, Message: fmt.Sprint("constraint is violated by ", placesOf(b)[0], strings.Repeat("<\x01", maxWhy))}
}

// A record that is too large is refused for ever, and its sink stands still.
func TestTheRecordOfManyRefusalsIsStillAMessage(t *testing.T) {
	const shards, far = 256, 1<<63 + 1
	b := frame.NewBlock(frame.RowSchema)
	for i := range maxExcluded {
		addRow(b, uint16(i%shards), far, math.MaxUint32-uint32(i), "")
	}
	view := frame.NewView(frame.RowSchema)
	if err := view.Parse(b.AppendNative(nil)); err != nil {
		t.Fatal(err)
	}
	p := poison{store: refusing{}, view: view, why: map[string]int{}}
	for i := range maxExcluded { // search, without halving all of it
		if err := p.search(t.Context(), i, i+1); err != nil {
			t.Fatal(err)
		}
	}
	rec := bus.Record{Incarnation: far, Open: &p.intent, Owner: strings.Repeat("o", 64), At: time.Now()}
	counts := bus.Totals{In: far, Rows: far, Dead: far, Repeats: far}
	for shard := range shards {
		rec.Shards = append(rec.Shards, bus.Proof{Shard: shard, Proven: far, Totals: counts})
		p.intent.Ranges = append(p.intent.Ranges, bus.Range{Shard: shard, First: far, Last: far, Totals: counts})
	}
	text, err := json.Marshal(rec)
	if err != nil || len(p.intent.Excluded) != maxExcluded {
		t.Fatalf("%d rows are excluded, %v", len(p.intent.Excluded), err)
	}
	if most := 1 << 20; len(text) > most {
		t.Errorf("a record of %d bytes is more than NATS takes", len(text))
	}
}
