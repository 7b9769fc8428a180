package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/localdb"
)

// partFaults kill ClickHouse between a token and the part that it is of.
var partFaults = []fault{
	{name: "clickhouse/rename", what: "SIGKILL of ClickHouse as it notes a token, before the part is renamed into place", do: killAtRename},
	{name: "clickhouse/orphan", what: "ClickHouse killed, a part gone whose insert was never answered, its token known", do: removePart},
}

// tableDir is where the parts of table events lie.
func (d *database) tableDir() (string, error) {
	part, err := d.newestPart()
	return filepath.Dir(part), err
}

// killAtRename waits until ClickHouse writes to the log of its tokens and kills
// it at once: the rename of the part comes right after.
func killAtRename(ctx context.Context, l *lab, rng *rand.Rand) error {
	kills := 0
	for range 1 + rng.IntN(4) {
		var dir string
		err := again(ctx, 10*time.Second, func(context.Context) (err error) {
			dir, err = l.db.tableDir()
			return err
		})
		if err != nil {
			return err
		}
		written, err := awaitWrite(ctx, filepath.Join(dir, "deduplication_logs"), 10*time.Second)
		if err != nil {
			return err
		}
		if !written {
			continue
		}
		kills++
		if err := errors.Join(l.db.kill(), l.db.start(ctx)); err != nil {
			return err
		}
		hold(ctx, rng, 100*time.Millisecond, time.Second)
	}
	if kills == 0 {
		return missed("no token was noted")
	}
	return nil
}

// awaitWrite returns as soon as a file in dir is written to; false: none was.
func awaitWrite(ctx context.Context, dir string, limit time.Duration) (bool, error) {
	fd, err := syscall.InotifyInit1(syscall.IN_NONBLOCK | syscall.IN_CLOEXEC)
	if err != nil {
		return false, err
	}
	defer func() { _ = syscall.Close(fd) }()
	if _, err := syscall.InotifyAddWatch(fd, dir, syscall.IN_MODIFY|syscall.IN_CREATE); err != nil {
		return false, fmt.Errorf("watch %s: %w", dir, err)
	}
	buf := make([]byte, 4096)
	for end := time.Now().Add(limit); time.Now().Before(end) && ctx.Err() == nil; {
		if n, _ := syscall.Read(fd, buf); n > 0 {
			return true, nil
		}
		time.Sleep(50 * time.Microsecond) // a write to a rename takes less than a millisecond
	}
	return false, nil
}

// removePart makes what a kill between token and rename makes, for sure: a part
// is gone, its token is known. Only a part may go whose insert nobody was told
// of, by an answer or by a count. So no answer of ClickHouse reaches an indexer
// from the insert on: what the ledger calls open after a while is what nobody
// can have proven.
func removePart(ctx context.Context, l *lab, rng *rand.Rand) error {
	var err error
	for range 3 { // a merge may have taken the part
		if err = l.removePart(ctx, rng.IntN(each)); !errors.Is(err, errMissed) || ctx.Err() != nil {
			return err
		}
		hold(ctx, rng, time.Second, 2*time.Second)
	}
	return err
}

func (l *lab) removePart(ctx context.Context, i int) error {
	trapped, err := l.wire(fmt.Sprintf("indexer-%d>clickhouse", i), "")
	if err != nil {
		return err
	}
	other, err := l.wire(fmt.Sprintf("indexer-%d>clickhouse", 1-i), "")
	if err != nil {
		return err
	}
	defer func() { // nothing that waits on the way arrives later
		for _, wire := range []interface {
			Reset()
			Heal()
		}{other, trapped} {
			wire.Reset()
			wire.Heal()
		}
	}()
	before := trapped.Stats().LostReplies
	other.Stall()
	trapped.LoseReplies(10, rowsSent)
	trapped.Refuse(true) // who lost an answer does not come back and count
	if !eventually(ctx, 3*time.Second, func() bool { return trapped.Stats().LostReplies > before }) {
		return missed("no insert of indexer %d was answered", i)
	}
	// What was answered before is in the ledger soon: by the next block, or
	// because none comes.
	pause(ctx, 500*time.Millisecond)
	part, err := l.openPart(ctx)
	if err != nil {
		return err
	}
	err = l.db.kill()
	if dir := l.db.partDir(part); err == nil && dir == "" {
		err = missed("part %s was merged", part)
	} else if err == nil {
		err = os.RemoveAll(dir)
	}
	trapped.Reset()
	other.Reset()
	return worse(err, l.db.start(ctx))
}

// openPart is a part that holds rows of open blocks and no others.
func (l *lab) openPart(ctx context.Context) (string, error) {
	records, err := l.records(ctx)
	if err != nil {
		return "", err
	}
	var open []string
	for _, rec := range records {
		if rec.Open == nil {
			continue
		}
		for _, r := range rec.Open.Ranges {
			open = append(open, within(r))
		}
	}
	if len(open) == 0 {
		return "", missed("no block is open")
	}
	conn, err := l.db.open(localdb.ReaderUser)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }() // it has been answered
	rows, err := conn.Query(ctx, "SELECT _part FROM events GROUP BY _part HAVING min("+strings.Join(open, " OR ")+") ORDER BY max(received_at) DESC LIMIT 1")
	if err != nil {
		return "", err
	}
	defer func() { _ = rows.Close() }() // Err tells
	var part string
	for rows.Next() {
		if err := rows.Scan(&part); err != nil {
			return "", err
		}
	}
	if part == "" && rows.Err() == nil {
		return "", missed("no part holds only rows of an open block")
	}
	return part, rows.Err()
}

func within(r bus.Range) string {
	return fmt.Sprintf("(_shard = %d AND _seq BETWEEN %d AND %d)", r.Shard, r.First, r.Last)
}

// partDir is where a part of the events lies, "" if it is not there.
func (d *database) partDir(name string) string {
	found, _ := filepath.Glob(filepath.Join(d.running().DataDir(), "store", "*", "*", name)) // the pattern is well formed
	for _, dir := range found {
		if _, err := os.Stat(filepath.Join(filepath.Dir(dir), "deduplication_logs")); err == nil {
			return dir
		}
	}
	return ""
}
