package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// Ask stores an event and reads the answer about its user into v; it returns the answer's text too. An event with a
// messageId may be asked again: it is stored once.
func (c *Client) Ask(ctx context.Context, event []byte, query url.Values, v any) (json.RawMessage, error) {
	res, err := c.do(ctx, request{
		method: http.MethodPost, path: "/v1/ask", query: query, body: event, header: http.Header{"Content-Type": {"application/json"}},
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }() // it was only read
	text, err := io.ReadAll(io.LimitReader(res.Body, answerLimit))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", c.cfg.URL, err)
	}
	if err := json.Unmarshal(text, v); err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", c.cfg.URL, err)
	}
	return text, nil
}
