package query

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Limits of a request for SQL.
const (
	maxSQL        = 256 << 10 // bytes; ClickHouse's own default for max_query_size
	defaultFormat = "JSONEachRow"
	defaultWait   = 5 * time.Second
	maxWait       = 30 * time.Second
)

// question is a request to POST /v1/sql, understood.
type question struct {
	sql    string
	values url.Values // for ClickHouse
	after  string
	wait   time.Duration
}

var (
	formatName = regexp.MustCompile(`^[A-Za-z0-9]{1,64}$`)
	paramName  = regexp.MustCompile(`^param_[A-Za-z_][A-Za-z0-9_]{0,63}$`)
)

// readQuestion takes the SQL from the body, whatever its type. Nothing of the request reaches ClickHouse but the SQL, the
// name of the format and the values of parameters; an unknown parameter is an error, so that none is ignored in silence.
func readQuestion(w http.ResponseWriter, r *http.Request) (question, error) {
	bad := func(format string, args ...any) (question, error) {
		return question{}, newProblem(http.StatusBadRequest, kindBadRequest, fmt.Sprintf(format, args...))
	}
	q := question{values: url.Values{"default_format": {defaultFormat}}, wait: defaultWait}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return bad("the parameters of the URL cannot be read: %v", err)
	}
	for name, values := range query {
		if len(values) > 1 {
			return bad("parameter %s is given %d times", name, len(values))
		}
		value := values[0]
		switch {
		case name == "format":
			if !formatName.MatchString(value) {
				return bad("format %q: want the name of a ClickHouse format, such as JSONEachRow, JSON, CSVWithNames or Parquet", value)
			}
			q.values.Set("default_format", value)
		case name == "after":
			q.after = value
		case name == "timeout":
			if q.wait, err = time.ParseDuration(value); err != nil || q.wait < 0 || q.wait > maxWait {
				return bad("timeout %q: want the time to wait for after, such as 500ms or 5s, up to %s", value, maxWait)
			}
		case paramName.MatchString(name):
			q.values.Set(name, value)
		default:
			return bad("parameter %q is unknown: there are format, after, timeout and param_<name>", name)
		}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxSQL))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return question{}, newProblem(http.StatusRequestEntityTooLarge, kindTooLarge, fmt.Sprintf("the SQL is longer than %d bytes", maxSQL))
	case err != nil:
		return bad("the body did not arrive whole: %v", err)
	}
	q.sql = string(body)
	if strings.TrimSpace(q.sql) == "" {
		return bad("the body is empty: send the SQL as the body of the request")
	}
	if strings.IndexByte(q.sql, 0) >= 0 {
		return bad("the SQL has a NUL byte, which ends it for ClickHouse")
	}
	if err := noInnerSettings(q.sql); err != nil {
		return question{}, err
	}
	if err := noFileFunction(q.sql, q.values); err != nil {
		return question{}, err
	}
	return q, nil
}

// serveSQL is POST /v1/sql.
func (s *Service) serveSQL(w http.ResponseWriter, r *http.Request) error {
	q, err := readQuestion(w, r)
	if err != nil {
		return err
	}
	if err := s.await(r.Context(), q.after, q.wait); err != nil {
		return err
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		return newProblem(http.StatusServiceUnavailable, kindBusy, fmt.Sprintf("%d questions are running", cap(s.slots)))
	}
	s.metrics.running.Inc()
	defer s.metrics.running.Dec()
	ctx, cancel := context.WithTimeoutCause(r.Context(), s.cfg.MaxTime,
		fmt.Errorf("%w: it did not end within %s", context.DeadlineExceeded, s.cfg.MaxTime))
	defer cancel() // closes the connection to ClickHouse, which ends the question there too
	ctx, alive, err := s.pulse.question(ctx)
	if err != nil {
		return err
	}
	defer alive()
	id := newQueryID()
	res, err := s.db.ask(ctx, id, q.sql, q.values)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // what matters of it was read, or is not wanted
	h := w.Header()
	for _, name := range []string{"Content-Type", headerQueryID, headerSummary, headerFormat, headerExceptionTag} {
		if v := res.Header.Get(name); v != "" {
			h.Set(name, v)
		}
	}
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	n, err := pass(ctx, w, res)
	s.metrics.bytes.Add(float64(n))
	if err != nil {
		s.metrics.cut.Inc()
		if r.Context().Err() == nil {
			s.log.Warn("a result was cut", "query_id", id, "bytes", n, "err", err)
		}
		// The client must see that the answer is not whole: without this, net/http would end it like any other.
		panic(http.ErrAbortHandler)
	}
	return nil
}
