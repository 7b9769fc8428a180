package ingester

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strconv"
	"strings"
	"unicode"

	"github.com/millrace/millrace/libs/event"
)

// problem is an error as RFC 9457 puts it into an answer. The shapes and codes
// are part of schemas/api/openapi-ingester.yaml.
type problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Code      string `json:"code"`
	RequestID string `json:"request_id,omitempty"` // over HTTP
	// Where an unreadable body stops being readable.
	Offset *int `json:"offset,omitempty"`
	Line   *int `json:"line,omitempty"`

	retryAfter int // seconds; 0: no use in coming again
}

// Error implements error.
func (p *problem) Error() string { return p.Code + ": " + p.Detail }

func newProblem(status int, code, detail string) *problem {
	return &problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Code: code, Detail: detail}
}

// become changes the status.
func (p *problem) become(status int) { p.Status, p.Title = status, http.StatusText(status) }

func passing(status int, code string, sentinel error, retryAfter int) *problem {
	p := newProblem(status, code, sentinel.Error())
	p.retryAfter = retryAfter
	return p
}

// problemOf words an error for whoever sent the request. What NATS or the
// network said is for the log and is left out.
func problemOf(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	if syntax, ok := errors.AsType[*event.SyntaxError](err); ok {
		p := newProblem(http.StatusBadRequest, "unreadable_body", syntax.Error())
		p.Offset, p.Line = &syntax.Offset, &syntax.Line
		return p
	}
	switch {
	case errors.Is(err, event.ErrTooLarge):
		return newProblem(http.StatusRequestEntityTooLarge, "body_too_large", err.Error())
	case errors.Is(err, event.ErrTooManyEvents):
		return newProblem(http.StatusRequestEntityTooLarge, "too_many_events", event.ErrTooManyEvents.Error())
	case errors.Is(err, event.ErrEncoding):
		return newProblem(http.StatusBadRequest, "unknown_encoding", event.ErrEncoding.Error())
	case errors.Is(err, event.ErrDecompression):
		return newProblem(http.StatusBadRequest, "broken_encoding", event.ErrDecompression.Error())
	case errors.Is(err, errShardFull):
		return passing(http.StatusTooManyRequests, "shard_full", errShardFull, 5)
	case errors.Is(err, errBusy):
		return passing(http.StatusTooManyRequests, "busy", errBusy, 1)
	case errors.Is(err, errFairShare):
		return passing(http.StatusTooManyRequests, "fair_share", errFairShare, 1)
	case errors.Is(err, errRefusals):
		return passing(http.StatusTooManyRequests, "too_many_refused", errRefusals, 5)
	case errors.Is(err, errNotAdmitted):
		return passing(http.StatusTooManyRequests, "not_admitted", err, 5)
	case errors.Is(err, errNoAck):
		return passing(http.StatusServiceUnavailable, "not_acknowledged", errNoAck, 1)
	case errors.Is(err, errShardClosed):
		return passing(http.StatusServiceUnavailable, "shard_closed", errShardClosed, 30)
	case errors.Is(err, errStarting):
		return passing(http.StatusServiceUnavailable, "starting", errStarting, 1)
	case errors.Is(err, errDraining):
		return passing(http.StatusServiceUnavailable, "stopping", errDraining, 1)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return newProblem(http.StatusRequestTimeout, "body_timeout", "the body did not arrive in time")
	}
	return newProblem(http.StatusBadRequest, "body_incomplete", "the body ended before its announced length")
}

func writeProblem(w http.ResponseWriter, p *problem) {
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(p.retryAfter))
	}
	if p.Status == http.StatusUnauthorized {
		// Not Basic, for which browsers open a dialog.
		h.Set("WWW-Authenticate", `Bearer realm="millrace"`)
	}
	body, _ := json.Marshal(p) // strings and numbers
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n')) // the sender is gone; there is nobody to tell
}

// openAnswer appends all of a 200's body but its receipt. head are the fields that come first, with their commas.
func (in *intake) openAnswer(dst []byte, head string) []byte {
	dst = append(append(append(dst, '{'), head...), `"accepted":`...)
	dst = strconv.AppendInt(dst, int64(in.accepted), 10)
	dst = append(dst, `,"rejected":[`...)
	for n, i := range in.rejected {
		if n > 0 {
			dst = append(dst, ',')
		}
		r := &in.rows[i]
		dst = append(dst, `{"index":`...)
		dst = strconv.AppendInt(dst, int64(i), 10)
		dst = append(dst, `,"reason":`...)
		text, _ := json.Marshal((&event.Refusal{Reason: r.reason, Detail: r.detail}).Error()) // a string
		dst = append(dst, text...)
		dst = append(dst, '}')
	}
	return append(dst, `],"receipt":"`...)
}

// closeAnswer appends the receipt, whose text needs no escaping.
func closeAnswer(dst []byte, receipt string) []byte {
	return append(append(dst, receipt...), '"', '}', '\n')
}

// maxDeclared bounds the reason that a client gives for refusing a body
// itself.
const maxDeclared = 512

// declared makes one printable line of a client's own reason.
func declared(header string) string {
	text := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(header, "\uFFFD"))
	if len(text) > maxDeclared {
		text = strings.ToValidUTF8(text[:maxDeclared], "")
	}
	return strings.TrimSpace(text)
}
