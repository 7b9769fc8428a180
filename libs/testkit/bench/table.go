package main

import (
	"context"
	"fmt"

	"github.com/millrace/millrace/libs/localdb"
)

// tableTimes are the sizes of the table in events of a run: 0 to 50 million
// rows with a million events.
var tableTimes = []int{0, 5, 20, 50}

// onTables measures the whole way again and again while the table of one
// installation grows. The window of repeats is short, so that what the enricher
// remembers of the runs before does not grow with it.
func onTables(ctx context.Context, b *bench, name, _ string) (all []result, err error) {
	in, err := b.up(ctx, "--dedup-window", "1m", "--max-disk", "30GiB")
	if err != nil {
		return nil, err
	}
	b.learn(ctx, in)
	made, sent := 0, 0
	for _, times := range tableTimes {
		w := way{part: "growth-table", events: b.events, size: usualSize, durability: "process"}
		w.kind, w.x = number(float64(times*b.events))+" rows", float64(times*b.events)
		r := w.result(b)
		l := newGenerator(fmt.Sprintf("%s-%d", name, times), 1, usualSize).load(b.events, 100)
		for ; made < times; made++ {
			if err = in.copyRows(ctx, b.events, made); err != nil {
				break
			}
		}
		if err == nil {
			in.quiet(ctx)
			r.Index[0] = machineIndex()
			err = r.measure(ctx, in, l, overNATS(batchPending), sent)
		}
		if err != nil {
			in.kill()
			return nil, fmt.Errorf("at %s: %w; its files are in %s", w.kind, err, in.dir)
		}
		r.Index[1] = machineIndex()
		sent += l.events
		all = append(all, r)
	}
	return all, in.stop()
}

// copyRows adds copies of rows that came through Millrace, inside ClickHouse:
// as another day's events, in a shard that no installation has, so that nobody
// takes them for rows of a frame.
func (in *installation) copyRows(ctx context.Context, rows, copied int) error {
	day := copied%60 + 1
	_, err := in.sql.ask(ctx, localdb.WriterUser, fmt.Sprintf(`INSERT INTO events SETTINGS insert_deduplicate = 0
		SELECT * REPLACE (toUInt16(%d) AS _shard, concat(event_id, '-%d') AS event_id, timestamp - INTERVAL %d DAY AS timestamp,
			received_at - INTERVAL %d DAY AS received_at, toDate32(timestamp - INTERVAL %d DAY) AS event_date)
		FROM events WHERE _shard < %d LIMIT %d`, madeShard+copied, copied, day, day, day, madeShard, rows))
	return err
}
