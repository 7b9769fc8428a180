package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/libs/bus"
)

// A verdict that cannot be bad proves nothing: rows are taken away, doubled and
// made up behind Millrace's back, and each must show, with its numbers.
func TestTheVerdictCounts(t *testing.T) {
	m := testMill(t)
	ctx := t.Context()
	if err := m.start(ctx); err != nil {
		t.Fatal(err)
	}
	s, err := parse([]string{"--seed", "1"})
	if err != nil {
		t.Fatal(err)
	}
	l, err := newLab(s, m, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	producing, stop := context.WithCancel(ctx)
	worked := make(chan error, 1)
	go func() { worked <- l.work(producing, nil) }()
	for l.producers[0].accepted.Load() < 300 && pause(ctx, 20*time.Millisecond) {
	}
	stop()
	if err := <-worked; err != nil {
		t.Fatal(err)
	}
	if err := l.settled(ctx); err != nil {
		t.Fatal(err)
	}
	// What is done to the table from here on is not to be mended: the audit of an
	// indexer would bring back the row that is taken away.
	for _, p := range m.all() {
		p.kill()
	}
	count := func() *verdict {
		v := &verdict{}
		if _, err := l.compare(ctx, v); err != nil {
			t.Fatal(err)
		}
		if err := l.projections(ctx, v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	if v := count(); !v.OK() || v.Rows == 0 || v.Dead == 0 || v.Once == 0 {
		t.Fatalf("before anything was done: %+v", v)
	}
	change := func(format string, args ...any) {
		if err := m.db.exec(ctx, fmt.Sprintf(format, args...)); err != nil {
			t.Fatal(err)
		}
	}
	copied := func(id, as string) {
		change("INSERT INTO events SELECT * REPLACE ('%s' AS event_id) FROM (SELECT * FROM events WHERE event_id = '%s' LIMIT 1) SETTINGS insert_deduplicate = 0", as, id)
	}
	copied("http0-7", "http0-7")
	if text := l.trace(ctx, &suspect{l.producers[0], 7, 2}); strings.Count(text, "ClickHouse: row of frame") != 2 || !strings.Contains(text, "LEDGER at") {
		t.Errorf("the trace of a doubled row: %s", text)
	}
	if v := count(); v.OK() || v.Doubled != 1 || v.Lost != 0 {
		t.Errorf("a row was doubled: %+v", v)
	}
	change("ALTER TABLE events DELETE WHERE event_id = 'http0-7' SETTINGS mutations_sync = 2")
	if v := count(); v.OK() || v.Doubled != 0 || v.Lost != 1 {
		t.Errorf("a row was taken away: %+v", v)
	}
	copied("http0-8", "http0-7")
	if v := count(); !v.OK() {
		t.Errorf("the row is there again: %+v", v)
	}
	copied("http0-8", "http0-9999999")
	if v := count(); v.OK() || v.Strange != 1 {
		t.Errorf("a row that nobody sent: %+v", v)
	}
}

func TestLedgerRecordsFollow(t *testing.T) {
	record := func(proven, in uint64, open ...uint64) *bus.Record {
		r := &bus.Record{Shards: []bus.Proof{{Shard: 1, Proven: proven, Totals: bus.Totals{In: in, Rows: in}}}}
		if len(open) > 0 {
			r.Open = &bus.Intent{Ranges: []bus.Range{{Shard: 1, First: open[0], Last: open[1], Totals: bus.Totals{In: open[2], Rows: open[2]}}}}
		}
		return r
	}
	wrongSum := record(4, 9)
	wrongSum.Shards[0].Totals.Rows = 8
	recovered := record(100, 5)
	recovered.Recovered = []bus.Recovered{{Shard: 1}}
	for name, c := range map[string]struct {
		before, rec *bus.Record
		right       bool
	}{
		"the first":           {nil, record(4, 9, 5, 6, 2), true},
		"nothing new":         {record(4, 9), record(4, 9, 5, 6, 2), true},
		"the open one proven": {record(4, 9, 5, 6, 2), record(6, 11), true},
		"a recovery":          {record(4, 9), recovered, true},
		"a hole":              {record(4, 9, 5, 6, 2), record(6, 11, 8, 9, 1), false},
		"an overlap":          {record(4, 9, 5, 6, 2), record(6, 11, 6, 9, 1), false},
		"proven without open": {record(4, 9), record(6, 11), false},
		"proven too far":      {record(4, 9, 5, 6, 2), record(7, 11), false},
		"another count":       {record(4, 9, 5, 6, 2), record(6, 12), false},
		"back":                {record(4, 9), record(3, 8), false},
		"a wrong sum":         {record(4, 9), wrongSum, false},
	} {
		if wrong := follows(c.before, c.rec); (len(wrong) == 0) != c.right {
			t.Errorf("%s: %q", name, wrong)
		}
	}
}
