package eventdb

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/millrace/millrace/libs/event/frame"
)

// leastWindow is the smallest deduplication window that is accepted: an indexer that was paused with an insert in flight
// must still find its token remembered after this many blocks.
const leastWindow = 1000

// Check compares the table with frame.Columns: every column is there with a type that takes the wire type, and the
// table remembers insert tokens. The error wraps [ErrSchema] and names every difference; an error that does not is
// ClickHouse's own. Columns that are not on the list are none of its business.
func Check(ctx context.Context, conn driver.Conn) error {
	found := map[string]string{}
	rows, err := conn.Query(ctx, "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = $1", Table)
	if err != nil {
		return fmt.Errorf("read the columns of table %s: %w", Table, err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var name, typ string
		if err := rows.Scan(&name, &typ); err != nil {
			return fmt.Errorf("read the columns of table %s: %w", Table, err)
		}
		found[name] = typ
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read the columns of table %s: %w", Table, err)
	}
	if len(found) == 0 {
		return fmt.Errorf("%w: there is no table %s that this user can see; run `millrace migrate`", ErrSchema, Table)
	}
	wrong := compare(found)

	var engine string
	if err := conn.QueryRow(ctx, "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = $1", Table).Scan(&engine); err != nil {
		return fmt.Errorf("read the engine of table %s: %w", Table, err)
	}
	if w := window(engine); w < leastWindow {
		wrong = append(wrong, fmt.Sprintf("it remembers %d insert tokens, at least %d are needed (setting non_replicated_deduplication_window)", w, leastWindow))
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%w: %s; run `millrace migrate`", ErrSchema, strings.Join(wrong, ", "))
	}
	return nil
}

func compare(found map[string]string) []string {
	var wrong []string
	for _, c := range frame.Columns {
		typ, ok := found[c.Name]
		switch {
		case !ok:
			wrong = append(wrong, "column "+c.Name+" is missing")
		case !fits(typ, c.Type):
			wrong = append(wrong, fmt.Sprintf("column %s is %s and takes no %s", c.Name, typ, c.Type))
		}
	}
	return wrong
}

var lowCardinality = regexp.MustCompile(`LowCardinality\(([A-Za-z0-9]+)\)`)

// fits says that the server turns the wire type into the table's type for every value. LowCardinality is a way to
// store a type; any other difference could fail for some value.
func fits(table, wire string) bool {
	return lowCardinality.ReplaceAllString(table, "$1") == wire
}

var windowSetting = regexp.MustCompile(`\bnon_replicated_deduplication_window = (\d+)`)

// window is the number of insert tokens that the table remembers. Replicated and shared engines remember by default.
func window(engine string) int {
	if strings.HasPrefix(engine, "Replicated") || strings.HasPrefix(engine, "Shared") {
		return 10000
	}
	m := windowSetting.FindStringSubmatch(engine)
	if m == nil {
		return 0
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return 0
	}
	return n
}
