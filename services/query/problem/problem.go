// Package problem is the body of every error of the query service, whichever of its packages found it:
// application/problem+json of RFC 9457. The code is of a closed set, for programs; the detail is for people. The statuses
// that a code comes with are in the OpenAPI document.
package problem

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// Problem is an error that is its own answer. The members after Code are there when the error has them.
type Problem struct {
	Type   string `json:"type"` // urn:millrace:problem:<code>
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Code   string `json:"code"`

	ClickHouseCode int       `json:"clickhouse_code,omitempty"`
	QueryID        string    `json:"query_id,omitempty"`
	Shards         []Waiting `json:"shards,omitempty"`
	In             *InWait   `json:"in,omitempty"`

	// Retry is when to ask again, for the statuses that say so; 0 is a second.
	Retry time.Duration `json:"-"`
}

// Waiting is how far a shard is on the way to a receipt.
type Waiting struct {
	Shard int    `json:"shard"`
	Want  uint64 `json:"want"`
	Have  uint64 `json:"have"`
}

// InWait is how far the ingesters are in the IN stream.
type InWait struct {
	Want uint64 `json:"want"`
	Have uint64 `json:"have"`
}

// Kind is a code with its title.
type Kind struct{ Code, Title string }

// The closed set of kinds.
var (
	BadRequest   = Kind{"bad_request", "The request cannot be understood"}
	Method       = Kind{"method_not_allowed", "This path does not take the method"}
	NotFound     = Kind{"not_found", "There is nothing at this path"}
	Unauthorized = Kind{"unauthorized", "A valid key is needed"}
	Forbidden    = Kind{"forbidden", "This is not allowed"}
	TooLarge     = Kind{"too_large", "The request is too large"}
	Invalid      = Kind{"invalid_query", "ClickHouse cannot run this SQL"}
	Limit        = Kind{"limit_exceeded", "The question is over a limit of the reader"}
	Quota        = Kind{"quota_exceeded", "The key has used up what it may ask"}
	Conflict     = Kind{"conflict", "A question of this name is running"}
	Cancelled    = Kind{"cancelled", "The question was cancelled"}
	Timeout      = Kind{"timeout", "The question took too long"}
	NotYet       = Kind{"not_yet", "Not all rows of the receipt are in yet"}
	Busy         = Kind{"busy", "Too much is being asked at once"}
	Unavailable  = Kind{"unavailable", "A part of the installation cannot be reached"}
	Internal     = Kind{"internal", "The query service is set up wrongly or has a fault"}
)

// Kinds are all of them.
func Kinds() []Kind {
	return []Kind{
		BadRequest, Method, NotFound, Unauthorized, Forbidden, TooLarge, Invalid, Limit, Quota, Conflict, Cancelled, Timeout,
		NotYet, Busy, Unavailable, Internal,
	}
}

// New returns a problem with an HTTP status.
func New(status int, k Kind, detail string) *Problem {
	return &Problem{Type: "urn:millrace:problem:" + k.Code, Title: k.Title, Status: status, Detail: detail, Code: k.Code}
}

// Instead adds to the detail what the asker can do instead; "" adds nothing.
func (p *Problem) Instead(what string) *Problem {
	if what != "" {
		p.Detail += ". Instead: " + what
	}
	return p
}

// Error implements error.
func (p *Problem) Error() string { return p.Title + ": " + p.Detail }

// Of says whether the problem is of a kind.
func (p *Problem) Of(k Kind) bool { return p.Code == k.Code }

// Write sends the problem as the whole answer. An answer that may go away by itself says in Retry-After when it is worth
// asking for again.
func (p *Problem) Write(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	switch p.Status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable:
		h.Set("Retry-After", strconv.Itoa(max(1, int((p.Retry+time.Second-1)/time.Second))))
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="millrace"`)
	}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the reader is gone; there is nobody to tell
}
