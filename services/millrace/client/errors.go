package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// ErrUnreachable is in an error when nothing answered at an address.
var ErrUnreachable = errors.New("nothing answers")

// StatusError is an answer that is not a success and that no repetition mends,
// or that was still there when patience ended.
type StatusError struct {
	Status int
	Code   string // a stable word of the service, if it gave one
	Msg    string // for people
	Detail json.RawMessage

	keyHint string // what to do about a 401
}

// Error implements error.
func (e *StatusError) Error() string {
	text := e.Msg
	if text == "" {
		text = http.StatusText(e.Status)
	}
	if hint := e.hint(); hint != "" {
		text += "; " + hint
	}
	return fmt.Sprintf("%s (HTTP %d)", text, e.Status)
}

// hint says what the one who typed the command can do.
func (e *StatusError) hint() string {
	switch e.Status {
	case http.StatusUnauthorized:
		return e.keyHint
	case http.StatusNotFound:
		return "is this the right address and port?"
	case http.StatusRequestEntityTooLarge:
		return "send fewer or smaller events at a time"
	case http.StatusTooManyRequests:
		return "the installation is full or over its limits: look at `millrace status`"
	}
	return ""
}

// How a key is given, by the service that wants one.
const (
	hintWriteKey = "give the source's key with --write-key or MILLRACE_WRITE_KEY"
	hintAPIKey   = "give a key of the query service with --api-key or MILLRACE_API_KEY"
	// HintEither is for a question that both kinds of key open.
	HintEither = hintAPIKey + ", or the source's key with --write-key or MILLRACE_WRITE_KEY"
)

// problem reads an error and says how a key is given to this service.
func (c *Client) problem(status int, body []byte) *StatusError {
	e := problem(status, body)
	e.keyHint = c.cfg.KeyHint
	if e.keyHint == "" {
		e.keyHint = hintWriteKey
		if c.cfg.Flag == FlagQuery {
			e.keyHint = hintAPIKey
		}
	}
	return e
}

// problem reads the error body of a service: problem+json, {"error": ...} or
// plain text.
func problem(status int, body []byte) *StatusError {
	e := &StatusError{Status: status}
	var p struct {
		Code   string `json:"code"`
		Error  string `json:"error"`
		Title  string `json:"title"`
		Detail string `json:"detail"`
	}
	if json.Unmarshal(body, &p) != nil {
		e.Msg = strings.TrimSpace(string(body))
		return e
	}
	e.Code, e.Detail = p.Code, body
	switch {
	case p.Detail != "":
		e.Msg = p.Detail
	case p.Error != "":
		e.Msg = p.Error
	default:
		e.Msg = p.Title
	}
	return e
}
