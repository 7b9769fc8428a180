package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/millrace/millrace/services/query/reader"
)

// Question is one SQL statement.
type Question struct {
	SQL    string
	Format string            // a ClickHouse format; "" is the service's default
	Params map[string]string // values of {name:Type} in the statement
	After  string            // a receipt that the answer must include; "" does not wait
	Wait   time.Duration     // for After, at the service; 0 leaves it to the service
}

// SQL asks a question. The caller reads and closes the answer, which ends with [ErrCut] if it is not whole.
func (c *Client) SQL(ctx context.Context, q Question) (io.ReadCloser, error) {
	values := url.Values{}
	if q.Format != "" {
		values.Set("format", q.Format)
	}
	if q.After != "" {
		values.Set("after", q.After)
	}
	if q.Wait > 0 {
		values.Set("timeout", q.Wait.String())
	}
	for name, value := range q.Params {
		values.Set("param_"+name, value)
	}
	res, err := c.do(ctx, request{
		method: http.MethodPost, path: "/v1/sql", query: values, body: []byte(q.SQL),
		header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}},
		// "Not yet" is an answer here, and the service has waited already.
		final: func(status int) bool { return status == http.StatusGatewayTimeout && q.After != "" },
	})
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		defer func() { _ = res.Body.Close() }()                // it was only read
		body, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20)) // a cut body only shortens the message
		return nil, c.problem(res.StatusCode, body)
	}
	return newCutReader(res.Body, res.Header.Get(reader.HeaderExceptionTag)), nil
}

// longWait is one wait at the service; it lets none be longer than 30 s.
const longWait = 10 * time.Second

// ErrNotYet says that rows of a receipt were still missing when time ended.
var ErrNotYet = errors.New("not all rows are there yet")

// WaitFor returns when the rows of the receipt are in ClickHouse, or with
// ErrNotYet after the time given.
func (c *Client) WaitFor(ctx context.Context, receipt string, patience time.Duration) error {
	if receipt == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var last error
	for {
		answer, err := c.SQL(ctx, Question{SQL: "SELECT 1", After: receipt, Wait: min(patience, longWait)})
		if err == nil {
			return answer.Close()
		}
		var status *StatusError
		if ctx.Err() == nil && (!errors.As(err, &status) || status.Status != http.StatusGatewayTimeout) {
			return err
		}
		if ctx.Err() == nil || last == nil {
			last = err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w after %s: %w", ErrNotYet, patience, last)
		}
	}
}

// Get reads a JSON document of the service into v and returns its text too.
func (c *Client) Get(ctx context.Context, path string, query url.Values, v any) (json.RawMessage, error) {
	res, err := c.do(ctx, request{method: http.MethodGet, path: path, query: query})
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }() // it was only read
	text, err := io.ReadAll(io.LimitReader(res.Body, answerLimit))
	if err != nil {
		return nil, fmt.Errorf("read %s from %s: %w", path, c.cfg.URL, err)
	}
	if err := json.Unmarshal(text, v); err != nil {
		return nil, fmt.Errorf("read %s from %s: %w", path, c.cfg.URL, err)
	}
	return text, nil
}
