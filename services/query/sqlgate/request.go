package sqlgate

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/millrace/millrace/services/query/problem"
	"github.com/millrace/millrace/services/query/reader"
)

// Limits of a request for SQL.
const (
	MaxSQL        = 256 << 10 // bytes; ClickHouse's own default for max_query_size
	defaultFormat = "JSONEachRow"
	defaultWait   = 5 * time.Second
	maxWait       = 30 * time.Second
)

// request is what the URL and the headers of a question say, whatever its SQL is.
type request struct {
	id     string // "" is a new one
	format string
	events bool // the answer is server-sent events
	after  string
	wait   time.Duration
	values url.Values // for ClickHouse
	rest   url.Values // the other parameters
}

var (
	paramName = regexp.MustCompile(`^param_[A-Za-z_][A-Za-z0-9_]{0,63}$`)
	chosenID  = regexp.MustCompile(`^[A-Za-z0-9_-]{8,64}$`)
)

func badRequest(format string, args ...any) error {
	return problem.New(http.StatusBadRequest, problem.BadRequest, fmt.Sprintf(format, args...))
}

// reserved are the parameters of every question, which no named query can have as its own.
var reserved = []string{"format", "after", "timeout", "query_id", "whole"}

// readRequest takes the reserved parameters from the URL and leaves the others in rest.
func readRequest(r *http.Request, usual string) (request, error) {
	q := request{format: usual, values: url.Values{}, rest: url.Values{}, wait: defaultWait}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return q, badRequest("the parameters of the URL cannot be read: %v", err)
	}
	if f := accepted(r.Header); f != "" {
		q.format, q.events = f, f == formats[eventStream]
	}
	for name, values := range query {
		if len(values) > 1 {
			return q, badRequest("parameter %s is given %d times", name, len(values))
		}
		value := values[0]
		switch name {
		case "format":
			if !formatName.MatchString(value) {
				return q, badRequest("format %q: want the name of a ClickHouse format, such as JSONEachRow, JSON, CSVWithNames or Parquet", value)
			}
			if !q.events {
				q.format = value
			}
		case "after":
			q.after = value
		case "timeout":
			if q.wait, err = time.ParseDuration(value); err != nil || q.wait < 0 || q.wait > maxWait {
				return q, badRequest("timeout %q: want the time to wait for after, such as 500ms or 5s, up to %s", value, maxWait)
			}
		case "query_id":
			if !chosenID.MatchString(value) {
				return q, badRequest("query_id %q: want 8 to 64 letters, digits, - and _", value)
			}
			q.id = value
		case "whole":
			if value != "true" && value != "false" {
				return q, badRequest("whole %q: want true or false", value)
			}
			if value == "true" {
				// ClickHouse then keeps the result until the question has ended: its errors all have a status, and the summary
				// counts everything.
				q.values.Set("wait_end_of_query", "1")
			}
		default:
			q.rest.Set(name, value)
		}
	}
	if q.events && q.values.Has("wait_end_of_query") {
		return q, badRequest("whole=true and progress exclude each other")
	}
	q.values.Set("default_format", q.format)
	return q, nil
}

// readSQL takes a question from a request for SQL. The SQL is the body, whatever its type. Nothing of the request reaches
// ClickHouse but the SQL, the name of the format and the values of parameters; an unknown parameter is an error, so that
// none is ignored in silence.
func readSQL(w http.ResponseWriter, r *http.Request) (request, reader.Question, error) {
	var none reader.Question
	q, err := readRequest(r, defaultFormat)
	if err != nil {
		return q, none, err
	}
	for name, values := range q.rest {
		if !paramName.MatchString(name) {
			return q, none, badRequest("parameter %q is unknown: there are %s and param_<name>", name, strings.Join(reserved, ", "))
		}
		q.values.Set(name, values[0])
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxSQL))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return q, none, problem.New(http.StatusRequestEntityTooLarge, problem.TooLarge, fmt.Sprintf("the SQL is longer than %d bytes", MaxSQL))
	case err != nil:
		return q, none, badRequest("the body did not arrive whole: %v", err)
	}
	sql := string(body)
	if strings.TrimSpace(sql) == "" {
		return q, none, badRequest("the body is empty: send the SQL as the body of the request")
	}
	if strings.IndexByte(sql, 0) >= 0 {
		return q, none, badRequest("the SQL has a NUL byte, which ends it for ClickHouse")
	}
	if err := Check(sql, q.values); err != nil {
		return q, none, err
	}
	return q, reader.Question{ID: q.id, SQL: sql, Values: q.values}, nil
}
