package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/libs/localdb"
)

//go:embed answers_day.sql
var daySQL string

const (
	madeDays  = 30
	people    = 200_000
	madeIndex = 1 << 24 // _idx of made rows begins here, beyond that of every row of a frame
	madeID    = "made-" // begins every event_id of theirs
)

// covered is which places of the shards a made row may have: sequences that
// the ledger has proven, so that questions take made rows for history.
type covered struct {
	shards int
	upTo   uint64 // proven in each of the shards
}

// covered reads what is proven. The caller has waited for its events, so that
// every row that is seen is.
func (in *installation) covered(ctx context.Context) (c covered, err error) {
	text, err := in.ask(ctx, "SELECT uniqExact(_shard), max(_shard) + 1, min(last) FROM (SELECT _shard, max(_seq) AS last FROM events GROUP BY _shard)", "")
	if err != nil {
		return c, err
	}
	var all int
	if _, err := fmt.Sscan(text, &c.shards, &all, &c.upTo); err != nil || c.shards != all || c.upTo < madeDays {
		return c, fmt.Errorf("the first events are in %q (shards, shards there are, frames of each): want %d frames in each shard", text, madeDays)
	}
	return c, nil
}

// fill makes rows inside ClickHouse: those of thirty days that end an hour ago,
// in the order of time and a day in a statement, so that parts are those of a
// table that has grown. They are rows of no frame: their _seq are sequences of
// frames that are proven, spread over all of them as those of a real history
// are, and their _idx are beyond those frames' own rows. The watermark covers
// them and no count of a frame's rows takes place in a run, which would find
// them.
func (in *installation) fill(ctx context.Context, rows int, c covered) (made int, err error) {
	visits := rows / madeDays / 10
	if visits == 0 {
		return 0, errors.New("too few rows for thirty days")
	}
	begin := time.Now().Add(-time.Hour).AddDate(0, 0, -madeDays)
	each := c.upTo / madeDays
	for day := range madeDays {
		n := func(v int64) string { return strconv.FormatInt(v, 10) }
		first := int64(day * visits)
		sql := strings.NewReplacer(
			"{{source}}", in.addrs.Source, "{{people}}", n(people), "{{mark}}", n(madeIndex), "{{shards}}", n(int64(c.shards)),
			"{{first}}", n(first), "{{visits}}", n(int64(visits)), "{{begin}}", n(begin.AddDate(0, 0, day).UnixMilli()),
			"{{seq}}", strconv.FormatUint(1+uint64(day)*each, 10), "{{seqs}}", strconv.FormatUint(each, 10),
			"{{from}}", n(first*10), "{{n}}", n(int64(visits)*10),
		).Replace(daySQL)
		if _, err := in.sql.ask(ctx, localdb.WriterUser, sql); err != nil {
			return made, fmt.Errorf("make the rows of a day: %w", err)
		}
		made += visits * 10
	}
	// Merges have built it in a table that has grown; these parts are too large to be merged soon.
	if _, err := in.sql.ask(ctx, localdb.MigratorUser, "ALTER TABLE events MATERIALIZE PROJECTION by_person SETTINGS mutations_sync = 1"); err != nil {
		return made, fmt.Errorf("build the projection: %w", err)
	}
	return made, nil
}
