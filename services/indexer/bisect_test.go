package indexer

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go"

	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/eventdb"
	"github.com/millrace/millrace/libs/localdb"
	"github.com/millrace/millrace/libs/testkit"
)

// counted counts the questions.
type counted struct {
	*table
	probes int
}

func (c *counted) Probe(ctx context.Context, b *frame.Block) error {
	c.probes++
	return c.table.Probe(ctx, b)
}

func TestRefusedRowsAreFound(t *testing.T) {
	db := testkit.StartClickHouse(t)
	db.Exec("ALTER TABLE millrace.events ADD CONSTRAINT polite CHECK event != 'rude'")
	// An error that names no row, of a column's own rule.
	db.Exec("ALTER TABLE millrace.events ADD CONSTRAINT calm CHECK throwIf(event = 'loud') = 0")
	store := &table{
		dial:    func(ctx context.Context) (*ch.Client, error) { return eventdb.Dial(ctx, db.Config(localdb.WriterUser)) },
		timeout: 10 * time.Second,
	}
	t.Cleanup(store.close)
	const rows = 1000
	for name, c := range map[string]struct {
		bad    func(i int) string
		most   int // questions
		expect int
	}{
		"none":                  {func(int) string { return "" }, 1, 0},
		"the first":             {rude(func(i int) bool { return i == 0 }), 4, 1},
		"the last":              {rude(func(i int) bool { return i == rows-1 }), 4, 1},
		"one in ten":            {rude(func(i int) bool { return i%10 == 3 }), 3*rows/10 + 1, rows / 10},
		"two side by side":      {rude(func(i int) bool { return i == 500 || i == 501 }), 7, 2},
		"all of a dozen at end": {rude(func(i int) bool { return i >= rows-12 }), 37, 12},
		"one that is not named": {func(i int) string {
			if i == 700 {
				return "loud"
			}
			return ""
		}, 30, 1},
		"both": {func(i int) string {
			switch {
			case i == 300:
				return "loud"
			case i%100 == 7:
				return "rude"
			}
			return ""
		}, 80, 11},
	} {
		t.Run(name, func(t *testing.T) {
			var want []uint32
			var list []testkit.Row
			for i := range rows {
				event := c.bad(i)
				if event != "" {
					want = append(want, uint32(i))
				} else {
					event = "fine"
				}
				list = append(list, testkit.Row{Event: event, UserID: fmt.Sprint("u", i)})
			}
			view := frame.NewView(frame.RowSchema)
			if err := view.Parse(testkit.Block(0, 1, list...).AppendNative(nil)); err != nil {
				t.Fatal(err)
			}
			count := &counted{table: store}
			p := poison{store: count, view: view, why: map[string]int{}}
			if err := p.search(t.Context(), 0, rows); err != nil {
				t.Fatal(err)
			}
			var have []uint32
			for _, e := range p.intent.Excluded {
				have = append(have, e.Idx)
			}
			slices.Sort(have)
			if !slices.Equal(have, want) || len(want) != c.expect {
				t.Errorf("found %v, want %v (%d)", have, want, c.expect)
			}
			if count.probes > c.most {
				t.Errorf("%d questions for %d rows, want at most %d", count.probes, len(want), c.most)
			}
			t.Logf("%d questions for %d rows", count.probes, len(want))
		})
	}
}

func rude(bad func(i int) bool) func(i int) string {
	return func(i int) string {
		if bad(i) {
			return "rude"
		}
		return ""
	}
}
