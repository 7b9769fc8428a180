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
)

// Verify asks for a reconciliation and returns its report as JSON. progress is
// told of each step as JSON, in order.
func (c *Client) Verify(ctx context.Context, wait time.Duration, progress func(json.RawMessage)) (json.RawMessage, error) {
	res, err := c.do(ctx, request{method: http.MethodPost, path: "/v1/verify", query: url.Values{"wait": {wait.String()}}})
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }() // it was only read
	lines := json.NewDecoder(res.Body)
	for {
		var line struct{ Progress, Report, Error json.RawMessage }
		if err := lines.Decode(&line); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("the reconciliation broke off: %w", err)
		}
		switch {
		case line.Report != nil:
			return line.Report, nil
		case line.Error != nil:
			var p struct{ Status int }
			if err := json.Unmarshal(line.Error, &p); err != nil {
				return nil, fmt.Errorf("the reconciliation failed: %s", line.Error)
			}
			return nil, c.problem(p.Status, line.Error)
		case line.Progress != nil:
			progress(line.Progress)
		}
	}
}
