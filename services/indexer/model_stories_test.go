package indexer

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/testkit/explore"
)

// scenario is what is explored: how many owners there are, what may happen to
// them, and what of the protocol is broken on purpose.
type scenario struct {
	budget explore.Budget
	pair   int // owners that work at the same time, from 1
	lives  int // owners there are at most, but for the one that ends the story
	poison map[place]bool
	// window is the number of blocks whose tokens ClickHouse knows, 0: all.
	window   int
	slowWire bool // an insert may travel longer than that
	variant  variant
	begun    func(w *world) // what there is at the beginning, nil for nothing

	blocks  map[string]block
	places  map[*frame.Block][]place // of those
	records map[string]bus.Record    // by their text
	metrics *metrics
}

// variant is a protocol that is wrong; the zero value is the right one.
type variant struct {
	settle     func(c *committer, ctx context.Context, rows *frame.Block, fresh bool) error
	commit     func(c *committer, ctx context.Context, open *bus.Intent, rows *frame.Block) error
	unfenced   bool // the ledger takes every record
	trimsEarly bool // what is proven and not yet written down is trimmed
}

// run explores the scenario. Time in it is simulated.
func (in *scenario) run(t *testing.T, most int) (explore.Report, error) {
	t.Helper()
	in.blocks, in.places, in.records = map[string]block{}, map[*frame.Block][]place{}, map[string]bus.Record{}
	in.metrics = newMetrics(prometheus.NewRegistry())
	return explore.InBubble(t, in.budget, most, in.story)
}

// exact fails the test if a story is not exact. There are so many stories, or a
// few more: more than half as many again are not waited for, unless it was asked
// for more.
func (in *scenario) exact(t *testing.T, stories int) {
	t.Helper()
	most := stories * 3 / 2
	if *deeper > 0 {
		most = 0
	}
	report, err := in.run(t, most)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d owners, %d of them at once, faults <= %d: %s", in.lives, in.pair, in.budget[fault], report)
}

// caught fails the test unless a story goes wrong in the way that is named: else
// the model sees nothing.
func (in *scenario) caught(t *testing.T, how string) {
	t.Helper()
	report, err := in.run(t, 1000)
	if err == nil || !strings.Contains(err.Error(), how) {
		t.Fatalf("no story of this variant ends with %q: %s, %v", how, report, err)
	}
	t.Logf("caught: %v", err)
}

// story runs owners, in an order that is decided step by step, until nobody is
// left who works and everything is proven.
func (in *scenario) story(s *explore.Story) error {
	w := &world{Story: s, in: in, rows: map[place]int{}, letters: map[place]bool{}, noted: map[string]int{}}
	defer func() {
		for _, o := range w.owners {
			o.stop()
		}
	}()
	if in.begun != nil {
		in.begun(w)
	}
	for range in.pair {
		w.begin()
	}
	for steps := 0; ; steps++ {
		time.Sleep(time.Duration(w.elapsed-w.slept) * time.Second)
		w.slept = w.elapsed
		if w.broken != nil {
			return w.broken
		}
		if steps > 1000 {
			return errors.New("it never ends")
		}
		working := w.working()
		if len(working) == 0 && len(w.late) == 0 {
			return w.exact()
		}
		if w.Seen(w.state) {
			return nil
		}
		w.next(working)
	}
}

// working are the owners that can go on. One that is gone has a successor
// while there are lives left, and somebody ends what all have left.
func (w *world) working() (all []*owner) {
	done := false
	for _, o := range w.owners {
		if o.fate == alive {
			all = append(all, o)
		}
		done = done || o.fate == through
	}
	switch {
	case len(all) < w.in.pair && w.lives < w.in.lives && !done:
		all = append(all, w.begin())
	case len(all) == 0 && !done:
		all = append(all, w.begin())
	}
	return all
}

// next lets one thing happen.
func (w *world) next(working []*owner) {
	kinds := make([]explore.Kind, len(working)+len(w.late), len(working)+len(w.late)+1)
	for i := range kinds {
		kinds[i] = explore.Free
	}
	if w.Left(nap) > 0 {
		kinds = append(kinds, nap)
	}
	switch i := w.Choose(kinds...); {
	case i < len(working):
		w.Tell("owner %d", working[i].n)
		working[i].next()
	case i < len(working)+len(w.late):
		i -= len(working)
		l := w.late[i]
		w.late = slices.Delete(w.late, i, i+1)
		w.Tell("a late request arrives: %v", l.what)
		l.arrive()
	default:
		w.Tell("time goes by")
		w.elapsed += int(freshIntent.Seconds()) + 1
	}
}

// exact checks the end.
func (w *world) exact() error {
	var want [modelShards]bus.Proof
	for _, p := range modelPlaces {
		times, sum := 1, &want[p.shard].Totals
		sum.In++
		if w.in.poison[p] {
			times = 0
			sum.Dead++
		} else {
			sum.Rows++
		}
		if w.rows[p] != times || w.letters[p] != w.in.poison[p] {
			return fmt.Errorf("row %v is there %d times, want %d; dead letter %v", p, w.rows[p], times, w.letters[p])
		}
	}
	last, err := bus.DecodeRecord(w.bodies[len(w.bodies)-1])
	if err != nil {
		return err
	}
	for i := range want {
		want[i].Shard, want[i].Proven = i, modelFrames
	}
	if !slices.Equal(last.Shards, want[:]) || last.Open != nil {
		return fmt.Errorf("the ledger ends with %+v, want %+v", last, want)
	}
	return nil
}

// deeper raises what every story may suffer. One more takes many minutes.
var deeper = flag.Int("deeper", 0, "`faults` that each story of the model may suffer beyond the usual")

func (in *scenario) mayFail(faults int) *scenario {
	in.budget[fault] = int8(faults + *deeper)
	return in
}

func TestEveryInterleavingOfTwoOwnersAndOneFaultIsExact(t *testing.T) {
	(&scenario{pair: 2, lives: 2}).mayFail(1).exact(t, 8824)
}

func TestOwnersOneAfterTheOtherAndTwoFaultsAreExact(t *testing.T) {
	(&scenario{pair: 1, lives: 3}).mayFail(2).exact(t, 1695)
}

// Of three owners the last begins when another is gone; with -deeper all three
// work at once.
func TestEveryInterleavingOfThreeOwnersIsExact(t *testing.T) {
	(&scenario{pair: 2 + min(*deeper, 1), lives: 3}).exact(t, 570)
}

func TestAPoisonedRowIsExact(t *testing.T) {
	poison := map[place]bool{{0, 2, 1}: true}
	t.Run("one owner after the other, a fault", func(t *testing.T) {
		(&scenario{pair: 1, lives: 3, poison: poison}).mayFail(1).exact(t, 140)
	})
	t.Run("two owners", func(t *testing.T) {
		(&scenario{pair: 2, lives: 2, poison: poison}).mayFail(0).exact(t, 634)
	})
}

// After a power failure ClickHouse may hold a part whose token it has lost.
func TestRowsThatAreThereAreNotSentAgainWithTheirToken(t *testing.T) {
	in := &scenario{pair: 1, lives: 3, begun: func(w *world) {
		open := newBlock([]bus.Range{{Shard: 0, First: 1, Last: 2}, {Shard: 1, First: 1, Last: 1}})
		body, err := json.Marshal(bus.Record{Shards: []bus.Proof{{Shard: 0}, {Shard: 1}}, Open: &open.intent})
		if err != nil {
			t.Fatal(err)
		}
		w.bodies = append(w.bodies, body)
		for _, p := range placesOf(open.rows) {
			if p.idx%2 == 0 { // one partition of two
				w.rows[p] = 1
			}
		}
	}}
	in.mayFail(1).exact(t, 63)
}

// A paused owner that wakes up after more blocks than ClickHouse knows tokens of
// looks at the ledger first.
func TestAPauseLongerThanTheDedupWindowIsExact(t *testing.T) {
	for blocks, stories := range map[int]int{1: 1612, 2: 1006} {
		t.Run(fmt.Sprint("window of ", blocks), func(t *testing.T) {
			(&scenario{pair: 2, lives: 2, window: blocks}).mayFail(0).exact(t, stories)
		})
	}
	t.Run("time that goes by", func(t *testing.T) {
		in := &scenario{pair: 2, lives: 2}
		in.budget[nap] = 1
		in.mayFail(0).exact(t, 6361)
	})
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
	for i := range maxWhys + 100 {
		addRow(b, uint16(i%shards), far, math.MaxUint32-uint32(i), "")
	}
	view := frame.NewView(frame.RowSchema)
	if err := view.Parse(b.AppendNative(nil)); err != nil {
		t.Fatal(err)
	}
	p := poison{store: refusing{}, view: view, why: map[string]int{}}
	for i := range maxWhys + 100 { // search, without halving all of it
		if err := p.search(t.Context(), i, i+1); err != nil {
			t.Fatal(err)
		}
	}
	for i := len(p.intent.Excluded); i < maxExcluded; i++ {
		next := p.intent.Excluded[maxWhys+i%100] // with the last of the texts, and the longest of places
		next.Shard, next.Idx = i%shards, math.MaxUint32-uint32(i)
		p.intent.Excluded = append(p.intent.Excluded, next)
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
