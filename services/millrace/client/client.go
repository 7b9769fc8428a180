package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Config of a client of one service.
type Config struct {
	// URL of the service, such as http://127.0.0.1:8080.
	URL string
	// Key is sent as X-Write-Key when it is not empty.
	Key string
	// Bearer is sent as Authorization when it is not empty.
	Bearer string
	// Flag is the command's flag that sets URL, for error texts.
	Flag string
	// KeyHint says how to give a key where the service wants one; "" is how it is given to the service of Flag.
	KeyHint string
	// Patience is how long one call may be tried again; 0 tries once.
	Patience time.Duration
	// Waiting, if set, is told before each further try.
	Waiting func(err error, next time.Duration)
}

// Client talks to one service. It may be used by many goroutines at once.
type Client struct {
	cfg  Config
	base *url.URL
	http *http.Client
}

// FlagQuery is the flag that sets the address of the query service.
const FlagQuery = "query-url"

// answerLimit bounds what is read of an answer that is kept in memory.
const answerLimit = 64 << 20

// New checks the address; it connects to nothing.
func New(cfg Config) (*Client, error) {
	base, err := url.Parse(cfg.URL)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, fmt.Errorf("--%s %q: want an address like http://127.0.0.1:8080", cfg.Flag, cfg.URL)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 16
	return &Client{cfg: cfg, base: base, http: &http.Client{Transport: transport}}, nil
}

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// request is what a call sends; the body is kept so that it can be sent again.
type request struct {
	method, path string
	query        url.Values
	header       http.Header
	body         []byte
	// final are statuses that the caller understands and that end the call.
	final func(status int) bool
}

// do sends req until it is answered for good and returns the open response.
func (c *Client) do(ctx context.Context, req request) (*http.Response, error) {
	delays := backoff.NewExponentialBackOff()
	delays.InitialInterval = 200 * time.Millisecond
	delays.MaxInterval = 10 * time.Second
	delays.Multiplier = 2
	opts := []backoff.RetryOption{
		backoff.WithBackOff(delays),
		backoff.WithMaxElapsedTime(c.cfg.Patience),
		backoff.WithNotify(func(err error, next time.Duration) {
			if c.cfg.Waiting != nil {
				c.cfg.Waiting(err, next)
			}
		}),
	}
	if c.cfg.Patience <= 0 {
		opts = append(opts, backoff.WithMaxTries(1))
	}
	var last error // what was wrong, without backoff's wrapping
	res, err := backoff.Retry(ctx, func() (*http.Response, error) {
		var res *http.Response
		var retry error
		res, last, retry = c.once(ctx, req)
		return res, retry
	}, opts...)
	if err == nil {
		return res, nil
	}
	if ctx.Err() != nil && last == nil {
		return nil, ctx.Err()
	}
	return nil, last
}

// once tries one time. err is the plain fault, retry the same for backoff.
func (c *Client) once(ctx context.Context, req request) (res *http.Response, err, retry error) {
	u := c.base.JoinPath(req.path)
	u.RawQuery = req.query.Encode()
	r, err := http.NewRequestWithContext(ctx, req.method, u.String(), strings.NewReader(string(req.body)))
	if err != nil {
		return nil, err, backoff.Permanent(err)
	}
	maps.Copy(r.Header, req.header)
	c.show(r)
	res, err = c.http.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err(), backoff.Permanent(ctx.Err())
		}
		err = c.unreachable(err)
		return nil, err, err
	}
	if res.StatusCode == http.StatusOK || req.final != nil && req.final(res.StatusCode) {
		return res, nil, nil
	}
	body, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20)) // a cut body only shortens the message
	_ = res.Body.Close()                                   // what went wrong is reported already
	err = c.problem(res.StatusCode, body)
	if !passing(res.StatusCode) {
		return nil, err, backoff.Permanent(err)
	}
	if wait := retryAfter(res.Header); wait > 0 {
		return nil, err, &backoff.RetryAfterError{Duration: wait}
	}
	return nil, err, err
}

// show puts the keys into a request.
func (c *Client) show(r *http.Request) {
	if c.cfg.Key != "" {
		r.Header.Set("X-Write-Key", c.cfg.Key)
	}
	if c.cfg.Bearer != "" {
		r.Header.Set("Authorization", "Bearer "+c.cfg.Bearer)
	}
}

func (c *Client) unreachable(err error) error {
	if op, ok := errors.AsType[*url.Error](err); ok {
		err = op.Err
	}
	return fmt.Errorf("%w at %s (%w): is it running there? `millrace up` starts it, --%s names another address",
		ErrUnreachable, c.cfg.URL, err, c.cfg.Flag)
}

// passing says whether a status may go away by itself.
func passing(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// retryAfter reads the header's form in seconds, the one that Millrace sends.
func retryAfter(h http.Header) time.Duration {
	n, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || n < 0 {
		return 0
	}
	return time.Duration(min(n, 300)) * time.Second
}
