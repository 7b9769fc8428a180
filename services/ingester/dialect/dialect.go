// Package dialect reads what SDKs of other systems send, and says it in the words of package event: one canonical event
// behind all of them. Its place in the flow: the HTTP door knows the path of a request and has its body, decompressed; a
// dialect makes events of it, which then go the way of any other.
//
// Each dialect begins in a file of its name. Invariants: what a dialect does not know is kept in the event, not dropped;
// numbers and texts stay as they were written; an event that cannot be mapped is refused by itself, with its original
// bytes, and its neighbours go on; a mapping reads nothing but the request, so the same request gives the same events; a
// key that occurs twice is never made to occur once, so that the scanner refuses the event for it.
package dialect

import (
	"net/http"
	"net/url"

	"github.com/millrace/millrace/libs/event"
)

// Request is one HTTP request as a dialect sees it.
type Request struct {
	Path   string // cleaned: no slash at its end
	Query  url.Values
	Header http.Header
	Body   []byte // decompressed; nil for GET and HEAD, and only for them: an empty body of a POST is an error

	// Grant is asked before the events take memory beside the body's, for so many bytes; its error is Map's. Nil grants all.
	Grant func(bytes int) error
}

// Event is one event of a request.
type Event struct {
	// Original is as it was sent: what a dead letter keeps. What came outside of a body (in a query, in the headers of a
	// CloudEvent) is put together as JSON that means the same to the same mapper.
	Original  []byte
	Canonical []byte // the same in the words of package event; nil when it is refused
	Refusal   *event.Refusal
}

// Mapped is what a request says. Its slices refer to the request's body or to memory of their own, never to the mapper's.
type Mapped struct {
	WriteKey string // in the body; "" when there is none
	SentAt   int64  // ms since 1970, by the sender's clock; 0 when it does not say
	Events   []Event
}

// Mapper maps requests of one dialect within the limits. An error is one of the body as a whole: a *event.SyntaxError,
// event.ErrTooManyEvents, event.ErrTooLarge, or what Grant said; nothing of it is stored then. It is safe for concurrent use.
type Mapper interface {
	Map(r *Request) (Mapped, error)
}
