package reader

import (
	"bufio"
	"bytes"
	"context"
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

	"github.com/millrace/millrace/libs/svc"
)

// Config says where the HTTP interface is and who the readers are.
type Config struct {
	URL      string // http://host:8123 or https://host:8443
	User     string // one that can only SELECT from Database
	Scoped   string // one that can only SELECT rows of the sources that a question names; its password is User's
	Password svc.Secret
	Database string
}

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
	HeaderExceptionCode = "X-Clickhouse-Exception-Code"
	HeaderExceptionTag  = "X-Clickhouse-Exception-Tag"
	HeaderQueryID       = "X-Clickhouse-Query-Id"
	HeaderSummary       = "X-Clickhouse-Summary"
	HeaderFormat        = "X-Clickhouse-Format"
)

// maxMessage bounds what is kept of an error text, which may quote the whole question.
const maxMessage = 64 << 10

// Client asks questions. Its methods may be called from any goroutine.
type Client struct {
	cfg  Config
	http *http.Client
	// cancel: whether ClickHouse lets the reader ask that a question ends with its connection.
	cancel atomic.Int32
}

const (
	cancelUnknown = iota
	cancelAsked   // the setting is sent with every question
	cancelDenied  // the profile does not allow it; ClickHouse notices when it next writes
)

// New returns a client; it connects when it is asked.
func New(cfg Config) *Client {
	return &Client{cfg: cfg, http: &http.Client{
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

// Close ends the connections that nobody uses.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Ask sends a statement and returns the open answer once ClickHouse has begun to give one. The error is an [Exception]
// when ClickHouse refused, else it wraps ctx's error or [ErrUnavailable].
func (c *Client) Ask(ctx context.Context, q Question) (*http.Response, error) {
	if c.cancel.Load() == cancelUnknown {
		c.learnCancel(ctx)
	}
	if q.ID == "" {
		q.ID = NewID()
	}
	values := url.Values{}
	maps.Copy(values, q.Values)
	if c.cancel.Load() == cancelAsked {
		values.Set("cancel_http_readonly_queries_on_client_close", "1")
	}
	q.Values = values
	return c.send(ctx, q)
}

// send changes q.Values.
func (c *Client) send(ctx context.Context, q Question) (*http.Response, error) {
	user, id := c.cfg.User, q.uniqueID()
	if !q.All {
		var err error
		if user = c.cfg.Scoped; user == "" {
			return nil, errors.New("no ClickHouse user that shows some sources only: set clickhouse-scoped-user")
		}
		if id, err = q.scopedID(); err != nil {
			return nil, fmt.Errorf("ask ClickHouse: %w", err)
		}
	}
	q.Values.Set("database", c.cfg.Database)
	q.Values.Set("query_id", id)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(c.cfg.URL, "/")+"/?"+q.Values.Encode(), strings.NewReader(q.SQL))
	if err != nil {
		return nil, fmt.Errorf("ask ClickHouse: %w", err)
	}
	// Never the client's type: of a form, ClickHouse would take fields as tables of its own.
	req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	req.Header.Set("X-ClickHouse-User", user)
	req.Header.Set("X-ClickHouse-Key", c.cfg.Password.Reveal())
	req.Header.Set("User-Agent", "millrace-query")
	// An empty value is not sent, but tells net/http that a SELECT on a connection that had just been closed may be sent again.
	req.Header["Idempotency-Key"] = nil
	res, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("question %s: %w", q.ID, context.Cause(ctx))
		}
		if op, ok := errors.AsType[*url.Error](err); ok {
			err = op.Err
		}
		return nil, fmt.Errorf("ClickHouse: %w: %w", ErrUnavailable, err)
	}
	if res.StatusCode == http.StatusOK && res.Header.Get(HeaderExceptionCode) == "" {
		res.Header.Set(HeaderQueryID, q.ID) // without the sources
		return res, nil
	}
	defer func() { _ = res.Body.Close() }() // what matters of it was read, or is not wanted
	text, err := io.ReadAll(io.LimitReader(res.Body, maxMessage))
	if err != nil && len(text) == 0 {
		return nil, fmt.Errorf("ClickHouse: %w: %w", ErrUnavailable, err)
	}
	code, _ := strconv.Atoi(res.Header.Get(HeaderExceptionCode)) // 0: not from ClickHouse but from something before it
	if code == 0 && res.StatusCode >= 500 {
		return nil, fmt.Errorf("ClickHouse: %w: HTTP %d: %s", ErrUnavailable, res.StatusCode, bytes.TrimSpace(text))
	}
	return nil, &Exception{Code: code, Status: res.StatusCode, QueryID: q.ID, Message: strings.ToValidUTF8(string(text), "?")}
}

// learnCancel finds out once whether the setting may be sent: a profile with readonly=1 refuses whole questions for a
// setting that it does not name, unless the value is the profile's own.
func (c *Client) learnCancel(ctx context.Context) {
	res, err := c.send(ctx, Question{
		ID: NewID(), SQL: "SELECT 1", All: true, Values: url.Values{"cancel_http_readonly_queries_on_client_close": {"1"}},
	})
	var ex *Exception
	switch {
	case err == nil:
		_ = res.Body.Close() // one row that nobody needs
		c.cancel.Store(cancelAsked)
	case errors.As(err, &ex) && (ex.Code == 164 || ex.Code == 452 || ex.Code == 115):
		c.cancel.Store(cancelDenied)
	}
}

// Ping is the readiness check.
func (c *Client) Ping(ctx context.Context) error {
	res, err := c.Ask(ctx, Question{SQL: "SELECT 1", All: true})
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// Pulse is nil when anything at all answers at /ping, which costs no query: what it says is for the questions.
func (c *Client) Pulse(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(c.cfg.URL, "/")+"/ping", nil)
	if err != nil {
		return fmt.Errorf("ask for ClickHouse's pulse: %w", err)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxMessage)) // so that the connection is used again
	return res.Body.Close()
}

// Rows runs one of our own statements over every source, in RowBinary, and hands every row, of size bytes, to take. It
// returns nil only if the result was whole. params are numbers and names; other text goes through [Param].
func (c *Client) Rows(ctx context.Context, sql string, params map[string]string, size int, take func(row []byte) error) error {
	values := url.Values{"default_format": {"RowBinary"}}
	for k, v := range params {
		values.Set("param_"+k, v)
	}
	id := NewID()
	res, err := c.Ask(ctx, Question{ID: id, SQL: sql, Values: values, All: true})
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // what matters of it was read, or is not wanted
	watch := newCutWatch(res.Header.Get(HeaderExceptionTag))
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
