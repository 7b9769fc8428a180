package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/millrace/millrace/services/query/mcp"
)

// Tools are those of a query service, by the Model Context Protocol. They connect when they are asked, and again when
// the connection was lost. Their methods may be called from any goroutine.
type Tools struct {
	client *Client
	sdk    *sdk.Client

	mu      sync.Mutex // guards all below
	session *sdk.ClientSession
}

// Tools connects to nothing yet.
func (c *Client) Tools(version string) *Tools {
	about := mcp.About(version)
	about.Name += "-command"
	return &Tools{client: c, sdk: sdk.NewClient(about, &sdk.ClientOptions{Capabilities: &sdk.ClientCapabilities{}})}
}

// Close ends the session, if there is one.
func (t *Tools) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.session == nil {
		return nil
	}
	err := t.session.Close()
	t.session = nil
	return err
}

// List is which tools the key may call.
func (t *Tools) List(ctx context.Context, params *sdk.ListToolsParams) (res *sdk.ListToolsResult, err error) {
	err = t.ask(ctx, func(s *sdk.ClientSession) (err error) {
		res, err = s.ListTools(ctx, params)
		return err
	})
	return res, err
}

// Call calls one. What the service refuses is in the result; the error is that it was not asked.
func (t *Tools) Call(ctx context.Context, params *sdk.CallToolParams) (res *sdk.CallToolResult, err error) {
	err = t.ask(ctx, func(s *sdk.ClientSession) (err error) {
		res, err = s.CallTool(ctx, params)
		return err
	})
	return res, err
}

// codeRejected is the SDK's for a request that did not get through (seen with 1.8.0, which does not export it).
const codeRejected = -32005

// ask returns a *jsonrpc.Error for what the service itself says of a call, such as a tool that is not there. It asks once more when the session was one of earlier: the service may have been started again since. Tools only
// read, so that it does no harm.
func (t *Tools) ask(ctx context.Context, do func(*sdk.ClientSession) error) error {
	for {
		session, fresh, err := t.connect(ctx)
		if err != nil {
			return t.plain(err)
		}
		if err = do(session); err == nil {
			return nil
		}
		if answered, ok := errors.AsType[*jsonrpc.Error](err); ok && answered.Code != codeRejected {
			return answered
		}
		t.drop(session)
		if fresh || ctx.Err() != nil {
			return t.plain(err)
		}
	}
}

func (t *Tools) connect(ctx context.Context) (s *sdk.ClientSession, fresh bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.session != nil {
		return t.session, false, nil
	}
	s, err = t.sdk.Connect(ctx, &sdk.StreamableClientTransport{
		Endpoint: t.client.base.JoinPath(mcp.Path).String(), HTTPClient: &http.Client{Transport: keyed{t.client}},
		DisableStandaloneSSE: true, MaxRetries: -1,
	}, nil)
	if err != nil {
		return nil, false, err
	}
	t.session = s
	return s, true, nil
}

func (t *Tools) drop(s *sdk.ClientSession) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.session == s {
		t.session = nil
		_ = s.Close() // it is broken already
	}
}

// plain is an error without the SDK's wrapping of what this package has found out.
func (t *Tools) plain(err error) error {
	var status *StatusError
	switch {
	case errors.As(err, &status) && status.Status == http.StatusUnauthorized:
		return fmt.Errorf("%s: %s", status.Msg, hintAPIKey)
	case errors.As(err, &status):
		return status
	}
	if away, ok := errors.AsType[*awayError](err); ok {
		return away.error
	}
	return fmt.Errorf("the tools of %s: %v", t.client.cfg.URL, err) //nolint:errorlint // no *jsonrpc.Error may be found in it
}

// awayError is that nothing answered.
type awayError struct{ error }

func (e *awayError) Unwrap() error { return e.error }

// keyed shows the key with every request, and makes the errors of the service and of its absence what they are for all
// other commands.
type keyed struct{ c *Client }

// RoundTrip implements http.RoundTripper.
func (k keyed) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	k.c.show(r)
	res, err := k.c.http.Transport.RoundTrip(r)
	if err != nil {
		if r.Context().Err() != nil {
			return nil, err
		}
		return nil, &awayError{k.c.unreachable(err)}
	}
	if kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); kind != "application/problem+json" {
		return res, nil
	}
	defer func() { _ = res.Body.Close() }()                // it was only read
	body, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20)) // a cut body only shortens the message
	return nil, k.c.problem(res.StatusCode, body)
}
