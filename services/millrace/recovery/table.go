package recovery

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/millrace/millrace/libs/eventdb"
)

const deadTable = "dead_letters_log"

// table is ClickHouse.
type table struct {
	cfg  eventdb.Config
	conn driver.Conn
	// patience is for how long an insert is waited for.
	patience time.Duration
	// A table that does not exist holds nothing.
	noRows, noLetters bool
}

// none says that a table is missing.
func (t *table) none() bool { return t.noRows || t.noLetters }

func (t *table) missing() string {
	switch {
	case t.noRows && t.noLetters:
		return "tables"
	case t.noRows:
		return "table " + eventdb.Table
	case t.noLetters:
		return "table " + deadTable
	}
	return ""
}

// openTable connects. ours says that the database is made by us: then a user
// without rights has none because there is nothing; anywhere else there may be
// rows that he may not see.
func openTable(ctx context.Context, cfg eventdb.Config, ours bool) (*table, error) {
	conn, err := eventdb.Open(cfg)
	if err != nil {
		return nil, err
	}
	t := &table{cfg: cfg, conn: conn, patience: 5 * time.Minute}
	if err := t.find(ctx, ours); err != nil {
		_ = conn.Close() // of no use
		return nil, err
	}
	return t, nil
}

// find looks which tables there are.
func (t *table) find(ctx context.Context, ours bool) error {
	for name, none := range map[string]*bool{eventdb.Table: &t.noRows, deadTable: &t.noLetters} {
		var n uint64
		err := t.conn.QueryRow(ctx, "SELECT count() FROM "+name).Scan(&n)
		code, ok := eventdb.Code(err)
		switch *none = false; {
		case err == nil:
		case ok && (code == codeNoTable || code == codeNoDatabase || code == codeNoRights && ours):
			*none = true
		case ok && code == codeNoRights:
			return fmt.Errorf("ClickHouse's user may not read %s: connect as the indexers do, or, if the tables are gone, run `millrace migrate --tables-only` first: %w", name, err)
		default:
			return fmt.Errorf("ask ClickHouse for %s: %w", name, err)
		}
	}
	return nil
}

// ClickHouse's codes.
const (
	codeNoTable    = 60
	codeNoDatabase = 81
	codeNoRights   = 497
)

// wide is for questions about all frames of a shard: what they group by need
// not fit into memory.
func wide(ctx context.Context) context.Context {
	return clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"max_bytes_before_external_group_by": 256 << 20, "max_bytes_before_external_sort": 256 << 20}))
}

func (t *table) close() { _ = t.conn.Close() } // what was asked has been answered

// counted is what the table has of a shard's frames: all, and those up to one.
type counted struct {
	rows, distinct, low, highest uint64
	dead, deadLow, deadHighest   uint64
}

func (t *table) count(ctx context.Context, shard int, upTo uint64) (c counted, err error) {
	if !t.noRows {
		err = t.conn.QueryRow(wide(ctx), "SELECT sum(n), sum(d), sumIf(d, seq <= $2), max(seq) FROM (SELECT _seq AS seq, count() AS n, uniqExact(_idx) AS d FROM "+
			eventdb.Table+" WHERE _shard = $1 GROUP BY _seq)", shard, upTo).Scan(&c.rows, &c.distinct, &c.low, &c.highest)
	}
	if err == nil && !t.noLetters {
		// As verify counts them: a place once, whatever life it is of.
		err = t.conn.QueryRow(wide(ctx), "SELECT sum(n), sumIf(n, seq <= $2), max(seq) FROM (SELECT _seq AS seq, _idx, toUInt64(max(events)) AS n FROM "+
			deadTable+" WHERE _shard = $1 GROUP BY _seq, _idx)", shard, upTo).Scan(&c.dead, &c.deadLow, &c.deadHighest)
	}
	if err != nil {
		return c, fmt.Errorf("count what ClickHouse has of shard %d: %w", shard, err)
	}
	return c, nil
}

// highestShard is the highest shard that has a row, -1 for none.
func (t *table) highestShard(ctx context.Context) (int, error) {
	if t.noRows {
		return -1, nil
	}
	var n uint64
	var shard uint16
	if err := t.conn.QueryRow(ctx, "SELECT count(), max(_shard) FROM "+eventdb.Table).Scan(&n, &shard); err != nil {
		return 0, fmt.Errorf("look for shards in ClickHouse: %w", err)
	}
	if n == 0 {
		return -1, nil
	}
	return int(shard), nil
}

// rowsOf is the ids of a shard's rows by frame and index.
func (t *table) rowsOf(ctx context.Context, shard int, from, to uint64) (map[uint64]map[uint32]string, error) {
	found := map[uint64]map[uint32]string{}
	if t.noRows {
		return found, nil
	}
	rows, err := t.conn.Query(ctx, "SELECT _seq, _idx, event_id FROM "+eventdb.Table+" WHERE _shard = $1 AND _seq BETWEEN $2 AND $3", shard, from, to)
	if err != nil {
		return nil, fmt.Errorf("read rows of shard %d: %w", shard, err)
	}
	defer func() { _ = rows.Close() }() // Err below has the error
	for rows.Next() {
		var seq uint64
		var idx uint32
		var id string
		if err := rows.Scan(&seq, &idx, &id); err != nil {
			return nil, fmt.Errorf("read rows of shard %d: %w", shard, err)
		}
		if found[seq] == nil {
			found[seq] = map[uint32]string{}
		}
		found[seq][idx] = id
	}
	return found, rows.Err()
}

// seqs hands out the frames of which there is a row or a dead letter, in order.
func (t *table) seqs(ctx context.Context, shard int, from, to uint64, take func(uint64)) error {
	const where = " WHERE _shard = $1 AND _seq BETWEEN $2 AND $3"
	from2 := t.both("_seq AS seq", where)
	if from2 == "" {
		return nil
	}
	rows, err := t.conn.Query(wide(ctx), "SELECT seq FROM ("+from2+") GROUP BY seq ORDER BY seq", shard, from, to)
	if err != nil {
		return fmt.Errorf("list the frames of shard %d: %w", shard, err)
	}
	defer func() { _ = rows.Close() }() // Err below has the error
	for rows.Next() {
		var seq uint64
		if err := rows.Scan(&seq); err != nil {
			return fmt.Errorf("list the frames of shard %d: %w", shard, err)
		}
		take(seq)
	}
	return rows.Err()
}

// both selects something from the tables that exist.
func (t *table) both(what, where string) string {
	var parts []string
	if !t.noRows {
		parts = append(parts, "SELECT "+what+" FROM "+eventdb.Table+where)
	}
	if !t.noLetters {
		parts = append(parts, "SELECT "+what+" FROM "+deadTable+where)
	}
	return strings.Join(parts, " UNION ALL ")
}

// rowCounts hands out the number of places of each frame up to one, in order.
func (t *table) rowCounts(ctx context.Context, shard int, to uint64, take func(seq, rows uint64)) error {
	if t.noRows {
		return nil
	}
	rows, err := t.conn.Query(wide(ctx), "SELECT _seq, uniqExact(_idx) FROM "+eventdb.Table+" WHERE _shard = $1 AND _seq <= $2 GROUP BY _seq ORDER BY _seq", shard, to)
	if err != nil {
		return fmt.Errorf("count rows of shard %d: %w", shard, err)
	}
	defer func() { _ = rows.Close() }() // Err below has the error
	for rows.Next() {
		var seq, n uint64
		if err := rows.Scan(&seq, &n); err != nil {
			return fmt.Errorf("count rows of shard %d: %w", shard, err)
		}
		take(seq, n)
	}
	return rows.Err()
}

// letterPlace is where a dead letter is of.
type letterPlace struct {
	incarnation uint64
	seq         uint64
	idx         uint32
}

// lettersOf lists the places of a shard's dead letters and their stages.
func (t *table) lettersOf(ctx context.Context, shard int, from, to uint64) (map[letterPlace]string, error) {
	found := map[letterPlace]string{}
	if t.noLetters {
		return found, nil
	}
	rows, err := t.conn.Query(ctx, "SELECT DISTINCT _incarnation, _seq, _idx, toString(stage) FROM "+deadTable+" WHERE _shard = $1 AND _seq BETWEEN $2 AND $3", shard, from, to)
	if err != nil {
		return nil, fmt.Errorf("read dead letters of shard %d: %w", shard, err)
	}
	defer func() { _ = rows.Close() }() // Err below has the error
	for rows.Next() {
		var p letterPlace
		var stage string
		if err := rows.Scan(&p.incarnation, &p.seq, &p.idx, &stage); err != nil {
			return nil, fmt.Errorf("read dead letters of shard %d: %w", shard, err)
		}
		found[p] = stage
	}
	return found, rows.Err()
}

// key is what the enricher knows an event by.
type key struct{ source, id string }

// idsAtOnce are looked for in one question.
const idsAtOnce = 5000

// known returns those of the keys that have a row anywhere, and when the first
// such row was received.
func (t *table) known(ctx context.Context, keys []key) (map[key]time.Time, error) {
	found := map[key]time.Time{}
	if t.noRows {
		return found, nil
	}
	for chunk := range slices.Chunk(keys, idsAtOnce) {
		ids := make([]string, len(chunk))
		for i, k := range chunk {
			ids[i] = k.id
		}
		big := clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"max_query_size": 16 << 20}))
		rows, err := t.conn.Query(big, "SELECT toString(source), event_id, min(received_at) FROM "+eventdb.Table+" WHERE event_id IN ($1) GROUP BY 1, 2", ids)
		if err != nil {
			return nil, fmt.Errorf("look for %d ids: %w", len(chunk), err)
		}
		for rows.Next() {
			var k key
			var at time.Time
			if err := rows.Scan(&k.source, &k.id, &at); err != nil {
				return nil, fmt.Errorf("look for %d ids: %w", len(chunk), err)
			}
			found[k] = at
		}
		if err := rows.Close(); err != nil {
			return nil, fmt.Errorf("look for %d ids: %w", len(chunk), err)
		}
	}
	return found, nil
}

// windowOf is the receipt from which on the enricher has to know a shard's ids,
// by its clock: a pause of more than a minute counts as a minute.
func (t *table) windowOf(ctx context.Context, shard int, window time.Duration) (time.Time, error) {
	// Of every second with a receipt, the last one.
	from := t.both("toUnixTimestamp64Milli(received_at) AS ms", " WHERE _shard = $1")
	if from == "" {
		return time.Time{}, nil
	}
	rows, err := t.conn.Query(ctx, "SELECT max(ms) AS at FROM ("+from+") GROUP BY intDiv(ms, 1000) ORDER BY at DESC LIMIT $2", shard, int64(window/time.Second)+3)
	if err != nil {
		return time.Time{}, fmt.Errorf("read when events of shard %d were received: %w", shard, err)
	}
	defer func() { _ = rows.Close() }() // Err below has the error
	const longest = time.Minute
	left, last := window, int64(-1)
	for rows.Next() {
		var at int64
		if err := rows.Scan(&at); err != nil {
			return time.Time{}, fmt.Errorf("read when events of shard %d were received: %w", shard, err)
		}
		if last >= 0 {
			step := min(time.Duration(last-at)*time.Millisecond, longest)
			if step > left {
				break
			}
			left -= step
		}
		last = at
	}
	return time.UnixMilli(last).Add(-left), rows.Err()
}

// idsSince hands out the keys of a shard's rows that were received from a time
// on, in the order of the log.
func (t *table) idsSince(ctx context.Context, shard int, since time.Time, take func(key) error) error {
	if t.noRows {
		return nil
	}
	rows, err := t.conn.Query(ctx, "SELECT toString(source), event_id FROM "+eventdb.Table+" WHERE _shard = $1 AND received_at >= fromUnixTimestamp64Milli($2) ORDER BY _seq, _idx", shard, since.UnixMilli())
	if err != nil {
		return fmt.Errorf("read the ids of shard %d: %w", shard, err)
	}
	defer func() { _ = rows.Close() }() // Err below has the error
	for rows.Next() {
		var k key
		if err := rows.Scan(&k.source, &k.id); err != nil {
			return fmt.Errorf("read the ids of shard %d: %w", shard, err)
		}
		if err := take(k); err != nil {
			return err
		}
	}
	return rows.Err()
}

// lettersSince hands out the sources and the original bytes of a shard's dead
// letters of single events that were received from a time on.
func (t *table) lettersSince(ctx context.Context, shard int, since time.Time, take func(source string, original []byte) error) error {
	if t.noLetters {
		return nil
	}
	rows, err := t.conn.Query(ctx, "SELECT toString(source), original FROM "+deadTable+" FINAL WHERE _shard = $1 AND events = 1 AND received_at >= fromUnixTimestamp64Milli($2)", shard, since.UnixMilli())
	if err != nil {
		return fmt.Errorf("read the dead letters of shard %d: %w", shard, err)
	}
	defer func() { _ = rows.Close() }() // Err below has the error
	for rows.Next() {
		var source, original string
		if err := rows.Scan(&source, &original); err != nil {
			return fmt.Errorf("read the dead letters of shard %d: %w", shard, err)
		}
		if err := take(source, []byte(original)); err != nil {
			return err
		}
	}
	return rows.Err()
}
