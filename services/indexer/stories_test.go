package indexer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

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
	var last bus.Record
	if n := len(w.records); n > 0 {
		last = w.records[n-1]
	}
	mine := last
	if err := w.Append(ctx, &mine, uint64(len(w.records))); err != nil {
		return false, err
	}
	c.last = mine
	for _, b := range modelBatches() {
		switch {
		case c.last.Open != nil && c.last.Open.First == b.first:
			err = settle(ctx, c, b.rows, false)
		case b.last <= c.last.Proven || c.last.Open != nil && b.last < c.last.Open.First:
			continue
		default:
			if err = c.append(ctx, &bus.Intent{First: b.first, Last: b.last, Totals: b.totals}); err == nil {
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
	for seq := uint64(1); seq <= 4; seq++ {
		for idx := range uint32(3) {
			p := place{seq, idx}
			want := 1
			if w.poison[p] {
				want = 0
			}
			if w.rows[p] != want || w.letters[p] != w.poison[p] {
				return fmt.Errorf("row %v is there %d times, want %d; dead letter %v", p, w.rows[p], want, w.letters[p])
			}
		}
	}
	last := w.records[len(w.records)-1]
	if want := (bus.Totals{In: 12, Rows: uint64(12 - len(poison)), Dead: uint64(len(poison))}); last.Totals != want || last.Proven != 4 || last.Open != nil {
		return fmt.Errorf("the ledger ends with %+v, want totals %+v", last, want)
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
	runs, err := explore(2, func(c *chooser) error { return story(c, protocol, place{2, 1}) })
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
	first := modelBatches()[0]
	open := &bus.Intent{First: first.first, Last: first.last, Totals: first.totals}
	w.records = []bus.Record{{Open: open, Revision: 1}}
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

// refusing is a table that refuses every row, each with words of its own.
type refusing struct{ store }

func (refusing) Probe(_ context.Context, b *frame.Block) error {
	return &ch.Exception{Code: 469, Message: fmt.Sprint("constraint is violated by ", placesOf(b)[0], strings.Repeat(" x", maxWhy))}
}

func TestTheRecordOfManyRefusalsIsStillAMessage(t *testing.T) {
	b := frame.NewBlock(frame.RowSchema)
	for i := range maxExcluded {
		addRow(b, 0, 1_000_000_000, uint32(i), "")
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
	text, err := json.Marshal(bus.Record{Open: &p.intent})
	if err != nil || len(p.intent.Excluded) != maxExcluded {
		t.Fatalf("%d rows are excluded, %v", len(p.intent.Excluded), err)
	}
	if most := 1 << 20; len(text) > most {
		t.Errorf("a record of %d bytes is more than NATS takes", len(text))
	}
}
