package query

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Exception is an answer of ClickHouse that refuses a question.
type Exception struct {
	Code    int    // ClickHouse's number, 0 when the answer had none
	Status  int    // of its HTTP answer
	QueryID string // names the question in ClickHouse's logs
	Message string // ClickHouse's own words
}

// Error implements error.
func (e *Exception) Error() string { return "ClickHouse: " + strings.TrimSpace(e.Message) }

// The headers of ClickHouse's HTTP interface that matter here.
const (
	headerExceptionCode = "X-Clickhouse-Exception-Code"
	headerExceptionTag  = "X-Clickhouse-Exception-Tag"
	headerQueryID       = "X-Clickhouse-Query-Id"
	headerSummary       = "X-Clickhouse-Summary"
	headerFormat        = "X-Clickhouse-Format"
)

// maxMessage bounds what is kept of an error text, which may quote the whole question.
const maxMessage = 64 << 10

// clickhouse asks questions as the reader over HTTP.
type clickhouse struct {
	cfg  ClickHouse
	http *http.Client
	// cancel: whether ClickHouse lets the reader ask that a question ends with its connection.
	cancel atomic.Int32
}

const (
	cancelUnknown = iota
	cancelAsked   // the setting is sent with every question
	cancelDenied  // the profile does not allow it; ClickHouse notices when it next writes
)

func newClickHouse(cfg ClickHouse) *clickhouse {
	return &clickhouse{cfg: cfg, http: &http.Client{
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
			TLSHandshakeTimeout: 5 * time.Second,
			DisableCompression:  true, // results are passed on as they are
			MaxIdleConnsPerHost: 16,
			IdleConnTimeout:     8 * time.Second, // below ClickHouse's keep_alive_timeout, which is 10 or 30 s
		},
		// A redirect would carry the password to wherever it points.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (c *clickhouse) close() { c.http.CloseIdleConnections() }

// newQueryID names a question in ClickHouse's logs and in our answers.
func newQueryID() string { return "millrace-" + strings.ToLower(rand.Text()) }

// ask sends a statement and returns the open answer once ClickHouse has begun to give one. The error is an [Exception]
// when ClickHouse refused, else it wraps ctx's error or [ErrUnavailable].
func (c *clickhouse) ask(ctx context.Context, id, sql string, values url.Values) (*http.Response, error) {
	if c.cancel.Load() == cancelUnknown {
		c.learnCancel(ctx)
	}
	q := url.Values{}
	maps.Copy(q, values)
	if c.cancel.Load() == cancelAsked {
		q.Set("cancel_http_readonly_queries_on_client_close", "1")
	}
	return c.send(ctx, id, sql, q)
}

func (c *clickhouse) send(ctx context.Context, id, sql string, q url.Values) (*http.Response, error) {
	q.Set("database", c.cfg.Database)
	q.Set("query_id", id)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(c.cfg.URL, "/")+"/?"+q.Encode(), strings.NewReader(sql))
	if err != nil {
		return nil, fmt.Errorf("ask ClickHouse: %w", err)
	}
	// Never the client's type: of a form, ClickHouse would take fields as tables of its own.
	req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	req.Header.Set("X-ClickHouse-User", c.cfg.User)
	req.Header.Set("X-ClickHouse-Key", c.cfg.Password.Reveal())
	req.Header.Set("User-Agent", "millrace-query")
	// An empty value is not sent, but tells net/http that a SELECT on a connection that had just been closed may be sent again.
	req.Header["Idempotency-Key"] = nil
	res, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("question %s: %w", id, context.Cause(ctx))
		}
		if op, ok := errors.AsType[*url.Error](err); ok {
			err = op.Err
		}
		return nil, fmt.Errorf("ClickHouse: %w: %w", ErrUnavailable, err)
	}
	if res.StatusCode == http.StatusOK && res.Header.Get(headerExceptionCode) == "" {
		return res, nil
	}
	defer func() { _ = res.Body.Close() }() // what matters of it was read, or is not wanted
	text, err := io.ReadAll(io.LimitReader(res.Body, maxMessage))
	if err != nil && len(text) == 0 {
		return nil, fmt.Errorf("ClickHouse: %w: %w", ErrUnavailable, err)
	}
	code, _ := strconv.Atoi(res.Header.Get(headerExceptionCode)) // 0: not from ClickHouse but from something before it
	if code == 0 && res.StatusCode >= 500 {
		return nil, fmt.Errorf("ClickHouse: %w: HTTP %d: %s", ErrUnavailable, res.StatusCode, bytes.TrimSpace(text))
	}
	return nil, &Exception{Code: code, Status: res.StatusCode, QueryID: id, Message: strings.ToValidUTF8(string(text), "?")}
}

// learnCancel finds out once whether the setting may be sent: a profile with readonly=1 refuses whole questions for a
// setting that it does not name, unless the value is the profile's own.
func (c *clickhouse) learnCancel(ctx context.Context) {
	res, err := c.send(ctx, newQueryID(), "SELECT 1", url.Values{"cancel_http_readonly_queries_on_client_close": {"1"}})
	var ex *Exception
	switch {
	case err == nil:
		_ = res.Body.Close() // one row that nobody needs
		c.cancel.Store(cancelAsked)
	case errors.As(err, &ex) && (ex.Code == 164 || ex.Code == 452 || ex.Code == 115):
		c.cancel.Store(cancelDenied)
	}
}

// ping is the readiness check.
func (c *clickhouse) ping(ctx context.Context) error {
	res, err := c.ask(ctx, newQueryID(), "SELECT 1", nil)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// rows runs one of our own statements in RowBinary and hands every row, of size bytes, to take. It returns nil only if
// the result was whole.
func (c *clickhouse) rows(ctx context.Context, sql string, params map[string]string, size int, take func(row []byte) error) error {
	q := url.Values{"default_format": {"RowBinary"}}
	for k, v := range params {
		q.Set("param_"+k, v)
	}
	id := newQueryID()
	res, err := c.ask(ctx, id, sql, q)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // what matters of it was read, or is not wanted
	watch := newCutWatch(res.Header.Get(headerExceptionTag))
	in := bufio.NewReaderSize(io.TeeReader(res.Body, watch), 64<<10)
	row := make([]byte, size)
	for {
		_, err := io.ReadFull(in, row)
		if watch.cut() {
			err = fmt.Errorf("%w: question %s failed in ClickHouse after its first rows: %s", ErrCut, id, watch.message())
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && ctx.Err() != nil:
			return fmt.Errorf("question %s: %w", id, context.Cause(ctx))
		case errors.Is(err, io.ErrUnexpectedEOF):
			_, _ = io.Copy(io.Discard, in) // what is left tells why
			return fmt.Errorf("%w: question %s: %s", ErrCut, id, watch.message())
		case err != nil:
			return fmt.Errorf("ClickHouse: %w: question %s: %w", ErrUnavailable, id, err)
		}
		if err := take(row); err != nil {
			return err
		}
	}
}
