package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/millrace/millrace/services/query/problem"
	"github.com/millrace/millrace/services/query/reader"
)

// MaxBytes of an answer, before the protocol's own: some ten thousand words of a model, of which a question rarely needs
// more.
const MaxBytes = 128 << 10

// passed are the headers of the request that the handler gets: the key, and what names the request in traces.
var passed = []string{"Authorization", "Traceparent", "X-Request-Id", "User-Agent"}

// call lets the handler answer a call. What is wrong is in the result, where a model reads it.
func (s *Server) call(ctx context.Context, t tool, raw json.RawMessage) *sdk.CallToolResult {
	args, err := readArguments(raw, t.schema)
	if err != nil {
		return failed(err, "")
	}
	q, err := t.request(args)
	if err != nil {
		return failed(err, "")
	}
	select {
	case s.free <- struct{}{}:
		defer func() { <-s.free }()
	default:
		return failed(problem.New(http.StatusServiceUnavailable, problem.Busy, fmt.Sprintf("%d calls are running", cap(s.free))), "1")
	}
	outer, ok := ctx.Value(asked{}).(*http.Request)
	if !ok {
		return failed(problem.New(http.StatusInternalServerError, problem.Internal, "the call came without its request"), "")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(outer.Context(), cancel)() // nobody waits for it any longer
	w := &recorder{header: http.Header{}, status: http.StatusOK, bytes: MaxBytes, full: cancel}
	if q.rows > 0 {
		if q.values == nil {
			q.values = url.Values{}
		}
		q.values.Set("format", rowsFormat)
		w.lines = headLines + q.rows
	}
	r, err := q.http(ctx, outer)
	if err != nil {
		return failed(badArguments("the question cannot be asked: %v", err), "")
	}
	switch err := s.serve(w, r); {
	case err != nil:
		return failed(err, "")
	case w.status >= http.StatusMultipleChoices:
		return refused(w)
	case q.rows > 0:
		return rowsResult(w, t.smaller)
	case w.over:
		return failed(problem.New(http.StatusRequestEntityTooLarge, problem.TooLarge,
			fmt.Sprintf("the answer is larger than %d bytes: %s", MaxBytes, t.smaller)), "")
	}
	return result(w.body.Bytes())
}

// http is the request to the handler.
func (q request) http(ctx context.Context, outer *http.Request) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, q.method, q.path, strings.NewReader(q.body))
	if err != nil {
		return nil, fmt.Errorf("make a request: %w", err)
	}
	r.URL.RawQuery = q.values.Encode()
	r.Host, r.RemoteAddr, r.RequestURI = outer.Host, outer.RemoteAddr, r.URL.RequestURI()
	for _, name := range passed {
		if values := outer.Header.Values(name); len(values) > 0 {
			r.Header[name] = values
		}
	}
	return r, nil
}

// serve runs the handler. One that gives up in the middle of an answer says so by a panic, as net/http wants it; that of
// an answer which had become too large is no error.
func (s *Server) serve(w *recorder, r *http.Request) (err error) {
	defer func() {
		switch what := recover(); {
		case what == nil || w.over:
		case errors.Is(asError(what), http.ErrAbortHandler):
			err = problem.New(http.StatusBadGateway, problem.Unavailable, "the answer was cut short: "+cutBy(w.body.String()))
		default:
			s.cfg.Log.Error("a handler panicked", "path", r.URL.Path, "panic", fmt.Sprint(what))
			err = problem.New(http.StatusInternalServerError, problem.Internal, "the query service has a fault")
		}
	}()
	s.cfg.Handler.ServeHTTP(w, r)
	return nil
}

func asError(what any) error {
	err, _ := what.(error)
	return err
}

// cutBy is what ClickHouse wrote at the end of a result that it could not finish: see package reader.
func cutBy(body string) string {
	_, block, ok := strings.Cut(body, reader.ExceptionMark)
	if !ok {
		return "ask again"
	}
	_, block, _ = strings.Cut(block, "\r\n") // the tag
	text, _, _ := strings.Cut(block, "\r\n")
	return strings.TrimSpace(text)
}
