package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// Body is one request to the door.
type Body struct {
	Type     string // Content-Type; "" is application/json
	Encoding string // Content-Encoding; "" is none
	Data     []byte
	// Refused, if set, declares that Data is no event and why: it becomes a
	// dead letter under the identity ID.
	Refused string
	ID      string
}

// Headers of a body that its sender declares refused.
const (
	headerRefused        = "Millrace-Refused"
	headerIdempotencyKey = "Idempotency-Key"
)

// Rejected is one event of a request that was refused.
type Rejected struct {
	Index  int    `json:"index"`
	Reason string `json:"reason"`
	Detail string `json:"detail,omitempty"`
}

// Answer is what the door acknowledged.
type Answer struct {
	Accepted int        `json:"accepted"`
	Rejected []Rejected `json:"rejected"`
	Receipt  string     `json:"receipt"`
}

// Post sends events and returns once they are durable.
func (c *Client) Post(ctx context.Context, b Body) (Answer, error) {
	h := http.Header{}
	if b.Type == "" {
		b.Type = "application/json"
	}
	h.Set("Content-Type", b.Type)
	if b.Encoding != "" {
		h.Set("Content-Encoding", b.Encoding)
	}
	if b.Refused != "" {
		h.Set(headerRefused, b.Refused)
	}
	if b.ID != "" {
		h.Set(headerIdempotencyKey, b.ID)
	}
	res, err := c.do(ctx, request{method: http.MethodPost, path: "/v1/events", header: h, body: b.Data})
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = res.Body.Close() }() // it was only read
	var a Answer
	if err := json.NewDecoder(io.LimitReader(res.Body, answerLimit)).Decode(&a); err != nil {
		return Answer{}, fmt.Errorf("read the door's answer from %s: %w", c.cfg.URL, err)
	}
	return a, nil
}
