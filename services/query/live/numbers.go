package live

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/millrace/millrace/services/query/access"
	"github.com/millrace/millrace/services/query/problem"
	"github.com/millrace/millrace/services/query/reader"
	"github.com/millrace/millrace/services/query/sqlgate"
)

// Numbers is what GET /v1/live/sql needs of the query service.
type Numbers struct {
	Gate *sqlgate.Gate
	// Proven is the watermark of a shard: its rows up to there are in ClickHouse.
	Proven func(shard int) uint64
}

// Limits of live numbers.
const (
	maxSQL      = 16 << 10 // bytes; it is in the URL
	maxAnswer   = 1 << 20  // bytes of one answer
	minEvery    = time.Second
	maxEvery    = time.Hour
	newEvents   = "new_events" // the table of the rows that are new
	maxBackoff  = 30 * time.Second
	paramPrefix = "param_"
	rowsFormat  = "JSONEachRow"
)

var paramName = regexp.MustCompile(`^param_[A-Za-z_][A-Za-z0-9_]{0,63}$`)

// repeated is a request for GET /v1/live/sql, understood.
type repeated struct {
	sql    string
	values url.Values // for ClickHouse
	every  time.Duration
	at     position // what has been counted
}

// Answer is one event of GET /v1/live/sql: the rows of the statement over the events from..to.
type Answer struct {
	From    string            `json:"from"` // not included; a receipt
	To      string            `json:"to"`   // included; a receipt
	AsOf    string            `json:"as_of"`
	Rows    []json.RawMessage `json:"rows"`
	Seconds float64           `json:"seconds"` // that it took
}

func (l *Live) readRepeated(r *http.Request, shards int) (repeated, error) {
	query, err := parameters(r, func(name string) bool {
		return name == "sql" || name == "every" || name == "after" || paramName.MatchString(name)
	}, "sql, every, after and param_<name>")
	if err != nil {
		return repeated{}, err
	}
	q := repeated{every: minEvery, values: url.Values{"default_format": {rowsFormat}}}
	for name, values := range query {
		if strings.HasPrefix(name, paramPrefix) {
			q.values.Set(name, values[0])
		}
	}
	text := query.Get("sql")
	switch {
	case strings.TrimSpace(text) == "":
		return q, bad("sql is missing: a SELECT over the table %s, which holds the events that are new each time", newEvents)
	case len(text) > maxSQL:
		return q, bad("sql is longer than %d bytes", maxSQL)
	case strings.IndexByte(text, 0) >= 0:
		return q, bad("sql has a NUL byte, which ends it for ClickHouse")
	case !strings.Contains(text, newEvents):
		return q, bad("sql does not read the table %s, which holds the events that are new each time; ask once with POST /v1/sql what is about all events", newEvents)
	}
	if err := sqlgate.Check(text, query); err != nil {
		return q, err
	}
	if q.sql, err = splice(text); err != nil {
		return q, err
	}
	if every := query.Get("every"); every != "" {
		if q.every, err = time.ParseDuration(every); err != nil || q.every < minEvery || q.every > maxEvery {
			return q, bad("every %q: want a time between %s and %s", every, minEvery, maxEvery)
		}
	}
	after := query.Get("after")
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		after = last
	}
	at, named, err := parsePosition(after, shards)
	if err != nil {
		return q, bad("%v", err)
	}
	for shard := range at {
		proven := l.cfg.Numbers.Proven(shard)
		switch {
		case !named[shard]:
			at[shard] = mark{seq: proven, idx: whole}
		case at[shard].idx != whole:
			return q, bad("after %q names a row inside a frame: live numbers begin between frames", after)
		}
	}
	q.at = at
	return q, nil
}

// beginning is what a statement begins with: blanks and comments, then its first word.
var beginning = regexp.MustCompile(`(?is)^((?:\s+|--[^\n]*(?:\n|$)|#[ !][^\n]*(?:\n|$)|/\*.*?\*/)*)(WITH\s+RECURSIVE\b|WITH\b|SELECT\b)`)

// splice makes room for the table of new events in a statement: %s in what it returns is the condition.
func splice(text string) (string, error) {
	m := beginning.FindStringSubmatch(text)
	if m == nil {
		return "", bad("sql begins with neither SELECT nor WITH")
	}
	rest := strings.ReplaceAll(text[len(m[0]):], "%", "%%")
	table := newEvents + " AS (SELECT * FROM events WHERE %s)"
	switch word := strings.ToUpper(m[2]); word {
	case "SELECT":
		return "WITH " + table + " SELECT" + rest, nil
	case "WITH":
		return "WITH " + table + ", " + rest, nil
	}
	return "WITH RECURSIVE " + table + ", " + rest, nil
}

// between is the condition for the rows of the frames behind from, up to to. The index by_seq makes it cheap.
func between(from, to position) string {
	var b strings.Builder
	for shard := range from {
		if to[shard].seq <= from[shard].seq {
			continue
		}
		if b.Len() > 0 {
			b.WriteString(" OR ")
		}
		fmt.Fprintf(&b, "(_shard = %d AND _seq BETWEEN %d AND %d)", shard, from[shard].seq+1, to[shard].seq)
	}
	if b.Len() == 0 {
		return "0"
	}
	return b.String()
}

// ServeNumbers is GET /v1/live/sql: the statement runs at once and then, while events come, every second or as asked, each
// time over the rows that became visible since the time before: every row is in exactly one answer, also for a reader
// that comes back with Last-Event-ID.
func (l *Live) ServeNumbers(w http.ResponseWriter, r *http.Request) error {
	if err := access.Need(r.Context(), access.SQL); err != nil {
		return err
	}
	if l.cfg.Numbers.Gate == nil {
		return problem.New(http.StatusNotFound, problem.NotFound, "there are no live numbers here")
	}
	ctx := r.Context()
	inst, err := l.cfg.Installation(ctx)
	if err != nil {
		return err
	}
	q, err := l.readRepeated(r, inst.Shards)
	if err != nil {
		return err
	}
	ctx, leave, err := l.seat(ctx)
	if err != nil {
		return err
	}
	defer leave()
	first, err := l.count(ctx, &q) // an error still has a status of its own
	if err != nil {
		return err
	}
	out := newSSE(w, l.cfg.Stall)
	if err := l.tell(out, q.at, first); err != nil {
		return nil //nolint:nilerr // nobody is there to hear it
	}
	if err := l.repeat(ctx, &q, out); errors.Is(err, errStalled) {
		l.metrics.dropped.WithLabelValues(droppedStall).Inc()
	}
	return nil
}

func (l *Live) tell(out *sse, at position, a Answer) error {
	out.buf = append(at.append(append(out.buf, "id: "...)), '\n')
	out.event("answer", a)
	return out.flush()
}

func (l *Live) repeat(ctx context.Context, q *repeated, out *sse) error {
	leave := func(code, detail string) error {
		out.event("end", End{Code: code, Detail: detail, After: q.at.String()})
		return out.flush()
	}
	ends := time.NewTimer(l.cfg.Lifetime)
	defer ends.Stop()
	wait := q.every
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.cfg.Stopping:
			return leave("stopping", errStopping.Error())
		case <-access.From(ctx).Gone():
			return leave("key", errGone.Error())
		case <-ends.C:
			return leave("again", "the stream is old: connect again")
		case <-time.After(wait):
		}
		wait = q.every
		if !l.ahead(q.at) {
			if time.Since(out.last) > l.cfg.Beat {
				out.id(q.at)
				if err := out.flush(); err != nil {
					return err
				}
			}
			continue
		}
		a, err := l.count(ctx, q)
		var p *problem.Problem
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			if err := l.tell(out, q.at, a); err != nil {
				return err
			}
		case errors.As(err, &p) && p.Status < 500 && p.Status != http.StatusTooManyRequests:
			return leave(p.Code, p.Detail)
		default: // it may pass; the next answer covers what this one would have
			out.buf = append(out.buf, ": an answer is late\n\n"...)
			if err := out.flush(); err != nil {
				return err
			}
			wait = max(q.every, min(2*wait+time.Second, maxBackoff))
		}
	}
}

// ahead says whether rows are visible that were not counted.
func (l *Live) ahead(at position) bool {
	for shard := range at {
		if l.cfg.Numbers.Proven(shard) > at[shard].seq {
			return true
		}
	}
	return false
}

// count runs the statement over what is new and moves the position behind it.
func (l *Live) count(ctx context.Context, q *repeated) (Answer, error) {
	to := make(position, len(q.at))
	for shard := range to {
		// A position of the future is kept: another installation's, or the ledger is not followed yet.
		to[shard] = mark{seq: max(l.cfg.Numbers.Proven(shard), q.at[shard].seq), idx: whole}
	}
	began := time.Now()
	l.metrics.numbers.Inc()
	asked, err := l.cfg.Numbers.Gate.Ask(ctx, reader.Question{SQL: fmt.Sprintf(q.sql, between(q.at, to)), Values: q.values})
	if err != nil {
		return Answer{}, reader.Problem(err)
	}
	defer asked.Close()
	if f := asked.Response.Header.Get(reader.HeaderFormat); f != rowsFormat {
		return Answer{}, bad("the SQL has a FORMAT clause (%s): live numbers are JSON, so leave it out", f)
	}
	text, err := asked.Whole(maxAnswer)
	if err != nil {
		return Answer{}, reader.Problem(err)
	}
	a := Answer{From: q.at.String(), To: to.String(), AsOf: began.UTC().Format(stamp), Rows: []json.RawMessage{}}
	for line := range bytes.Lines(text) {
		a.Rows = append(a.Rows, bytes.TrimSpace(line))
	}
	a.Seconds = time.Since(began).Seconds()
	q.at = to
	return a, nil
}
