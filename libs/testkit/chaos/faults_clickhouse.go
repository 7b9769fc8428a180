package main

import (
	"context"
	"math/rand/v2"
	"syscall"
	"time"
)

// clickhouseFaults are what ClickHouse answers to an insert that was sent to
// it. Each is over only when an indexer has met it.
var clickhouseFaults = []fault{
	{name: "clickhouse/parts", what: "TOO_MANY_PARTS", do: refusing("(252)",
		[]string{"ALTER TABLE events MODIFY SETTING parts_to_delay_insert = 1, parts_to_throw_insert = 1"},
		[]string{"ALTER TABLE events RESET SETTING parts_to_delay_insert, parts_to_throw_insert"})},
	{name: "clickhouse/slow", what: "every insert takes seconds", do: slowInserts},
	{name: "clickhouse/read-only", what: "the table is read-only", do: refusing("(774)", // TABLE_IS_READ_ONLY of a table that is made so
		[]string{"ALTER TABLE events MODIFY SETTING table_readonly = 1"},
		[]string{"ALTER TABLE events RESET SETTING table_readonly"})},
	{name: "clickhouse/wrong-table", what: "there is a view in the table's place", do: refusing("(48)", // NOT_IMPLEMENTED
		[]string{"RENAME TABLE events TO events_away", "CREATE VIEW events AS SELECT * FROM events_away"},
		[]string{"DROP VIEW IF EXISTS events SYNC", "RENAME TABLE events_away TO events"})},
	{name: "clickhouse/table-gone", what: "the table is not there", do: refusing("(60)", // UNKNOWN_TABLE
		[]string{"RENAME TABLE events TO events_away"},
		[]string{"RENAME TABLE events_away TO events"})},
	// What a row is checked with needs a gigabyte a row; the text is below the
	// size at which ClickHouse calls it too large, which would be the row's fault.
	// No number may be in it: ClickHouse compares what constraints compare with,
	// and the other one names a text.
	{name: "clickhouse/memory", what: "MEMORY_LIMIT_EXCEEDED: an insert needs more than there is", do: refusing("(241)",
		[]string{"ALTER TABLE events ADD CONSTRAINT hungry CHECK NOT ignore(repeat(rightPad(event_id, 1000), 1000000))"},
		[]string{"ALTER TABLE events DROP CONSTRAINT hungry"})},
	{name: "clickhouse/hangs", what: "SIGSTOP of ClickHouse, longer than an insert may take", do: func(ctx context.Context, l *lab, rng *rand.Rand) error {
		pid := l.db.pid()
		heard := l.listen("indexer")
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			return err
		}
		struck := heard.await(ctx, 2*insertTimeout, "ClickHouse gives no answer")
		hold(ctx, rng, 0, 3*time.Second)
		return worse(struck, syscall.Kill(pid, syscall.SIGCONT))
	}},
}

// refusing makes ClickHouse refuse every insert until an indexer says that it
// was told so, by the number of ClickHouse's error.
func refusing(code string, begin, end []string) func(context.Context, *lab, *rand.Rand) error {
	return func(ctx context.Context, l *lab, rng *rand.Rand) error {
		heard := l.listen("indexer")
		err := l.db.exec(ctx, begin...)
		if err == nil {
			err = heard.await(ctx, 15*time.Second, code)
			hold(ctx, rng, time.Second, 5*time.Second)
		}
		return worse(err, l.db.undo(ctx, end...))
	}
}

// slowInserts delays every insert as ClickHouse does when it has too many
// parts, until the rows stood still for a second.
func slowInserts(ctx context.Context, l *lab, rng *rand.Rand) error {
	err := l.db.exec(ctx, "ALTER TABLE events MODIFY SETTING parts_to_delay_insert = 1, max_delay_to_insert = 3, min_delay_to_insert_ms = 2000")
	if err == nil {
		stood := false
		for end := time.Now().Add(15 * time.Second); !stood && err == nil && time.Now().Before(end) && ctx.Err() == nil; {
			stood, err = l.still(ctx, time.Second)
		}
		if err == nil && !stood {
			err = missed("rows came every second although inserts were to take two")
		}
		hold(ctx, rng, time.Second, 4*time.Second)
	}
	return worse(err, l.db.undo(ctx, "ALTER TABLE events RESET SETTING parts_to_delay_insert, max_delay_to_insert, min_delay_to_insert_ms"))
}
