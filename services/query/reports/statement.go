package reports

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/services/query/problem"
	"github.com/millrace/millrace/services/query/reader"
)

// What statements share. A statement says {{bucket}} where the text of bucket.sql belongs.
var (
	// sqlPerson is the key of the person who did something. When ids are joined to people by identify and alias, this and
	// sqlPersonIs are what changes.
	//
	//go:embed person.sql
	sqlPerson string
	// sqlPersonIs is whether it was {person:String}, so that the indexes on the ids help.
	//
	//go:embed person_is.sql
	sqlPersonIs string
	//go:embed name.sql
	sqlName string
	//go:embed bucket.sql
	sqlBucket string
	//go:embed dimension.sql
	sqlDimension string
	//go:embed measure.sql
	sqlMeasure string
	//go:embed scope.sql
	sqlScope string
	//go:embed funnel_level.sql
	sqlFunnelLevel string
)

// expand puts the shared parts into a statement; where is what conditions made.
func expand(sql, where string) string {
	trimmed := strings.TrimSpace
	sql = strings.NewReplacer("{{scope}}", trimmed(sqlScope), "{{dimension}}", trimmed(sqlDimension),
		"{{measure}}", trimmed(sqlMeasure), "{{bucket}}", trimmed(sqlBucket), "{{funnel_level}}", trimmed(sqlFunnelLevel)).Replace(sql)
	return strings.NewReplacer("{{person}}", trimmed(sqlPerson), "{{person_is}}", trimmed(sqlPersonIs),
		"{{name}}", trimmed(sqlName), "{{where}}", where).Replace(sql)
}

// params are values of {name:Type} as ClickHouse's HTTP interface takes them.
type params map[string]string

// raw is for what needs no escaping.
func (p params) raw(name, value string) { p[name] = value }

func (p params) text(name, value string) { p[name] = reader.Param(value) }

func (p params) number(name string, n int64) { p[name] = strconv.FormatInt(n, 10) }

func (p params) time(name string, t time.Time) {
	p[name] = t.UTC().Format("2006-01-02 15:04:05.000")
}

var quote = strings.NewReplacer("\\", "\\\\", "'", "\\'", "\t", "\\t", "\n", "\\n", "\r", "\\r", "\x00", "\\0")

// texts is an Array(String). ClickHouse reads one as it stands, and its elements as literals: it is no field of TSV.
func (p params) texts(name string, list []string) {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = "'" + quote.Replace(s) + "'"
	}
	p[name] = "[" + strings.Join(quoted, ",") + "]"
}

func (p params) dimension(d dimension) {
	p.raw("by", d.kind)
	p.raw("by_column", "event")
	p.raw("by_map", "properties")
	p.raw("by_key", "")
	switch d.kind {
	case "column":
		p.raw("by_column", d.column)
	case "map":
		p.raw("by_map", d.column)
		p.text("by_key", d.key)
	}
}

// call is the work for one answer.
type call struct {
	db    Database
	scope scope
	stats Statistics
}

// params are those of the scope and the calendar, for events of the names.
func (c *call) params(events []string) params {
	p := params{}
	p.texts("sources", c.scope.sources)
	p.texts("events", events)
	p.number("sample", int64(c.scope.sample))
	p.time("from", c.scope.from)
	p.time("to", c.scope.to)
	p.time("origin", c.scope.from)
	p.raw("interval", c.scope.interval)
	p.raw("zone", c.scope.zone.String())
	return p
}

// table is an answer in ClickHouse's format JSONCompact.
type table struct {
	Data   [][]json.RawMessage `json:"data"`
	Totals []json.RawMessage   `json:"totals"`
	// Groups is how many rows there were before LIMIT.
	Groups     uint64 `json:"rows_before_limit_at_least"`
	Statistics struct {
		Elapsed float64 `json:"elapsed"`
		Rows    uint64  `json:"rows_read"`
		Bytes   uint64  `json:"bytes_read"`
	} `json:"statistics"`
}

// maxAnswer bounds what is kept of an answer in memory.
const maxAnswer = 64 << 20

func (c *call) ask(ctx context.Context, sql string, p params) (*table, error) {
	sql = expand(sql, c.scope.conditions(p))
	text, err := c.db.Read(ctx, sql, "JSONCompact", p, maxAnswer)
	if err != nil {
		return nil, err
	}
	var t table
	if err := json.Unmarshal(text, &t); err != nil {
		return nil, fault("ClickHouse's answer cannot be read: %v", err)
	}
	c.stats.Statements++
	c.stats.Seconds += t.Statistics.Elapsed
	c.stats.Rows += t.Statistics.Rows
	c.stats.Bytes += t.Statistics.Bytes
	return &t, nil
}

// fault is an answer of ClickHouse that does not fit the question: ours to mend.
func fault(format string, args ...any) error {
	return problem.New(http.StatusInternalServerError, problem.Internal, fmt.Sprintf(format, args...))
}

// scan reads a row's values into pointers. A *float64 takes null, which is how NaN is written, as NaN.
func scan(row []json.RawMessage, to ...any) error {
	if len(row) != len(to) {
		return fault("ClickHouse answers with rows of %d columns, not %d", len(row), len(to))
	}
	for i, v := range row {
		if f, ok := to[i].(*float64); ok && bytes.Equal(v, []byte("null")) {
			*f = math.NaN()
			continue
		}
		if err := json.Unmarshal(v, to[i]); err != nil {
			return fault("column %d of ClickHouse's answer cannot be read: %v", i+1, err)
		}
	}
	return nil
}
