package ingester

import (
	"net/http"
	"time"

	"github.com/millrace/millrace/libs/event"
)

// notAllowed is why the source of the body may not send the event, nil if it
// may. Over HTTP a disabled source has no key; over NATS its messages are in IN
// before anybody looks, so they become dead letters.
func (in *intake) notAllowed(e *event.Event) *event.Refusal {
	switch s := in.source; {
	case s == nil:
		return nil
	case s.Disabled():
		return &event.Refusal{Reason: event.ReasonNotAllowed, Detail: "the source is disabled"}
	case !s.AllowsEvent(e.Type, e.Name):
		return &event.Refusal{Reason: event.ReasonNotAllowed, Detail: "neither its type nor its name is in the allow list of the source"}
	}
	return nil
}

// limited is the answer to a source that is faster than its rate.
func limited(wait time.Duration) *problem {
	p := newProblem(http.StatusTooManyRequests, "rate_limited", "the source is over its rate; `millrace source show` tells what that is")
	p.retryAfter = int(wait / time.Second)
	return p
}

// size is what the rows of a body count as against a rate: the events as they
// were sent, without what the door adds.
func (in *intake) size() (bytes int) {
	for i := range in.rows {
		bytes += len(in.rows[i].body)
	}
	return bytes
}
