package query

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// problem is the body of every error: application/problem+json of RFC 9457. Code is of a closed set, for programs; the
// members after it are there when the error has them.
type problem struct {
	Type   string `json:"type"` // urn:millrace:problem:<code>
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Code   string `json:"code"`

	ClickHouseCode int       `json:"clickhouse_code,omitempty"`
	QueryID        string    `json:"query_id,omitempty"`
	Shards         []waiting `json:"shards,omitempty"`
	In             *inWait   `json:"in,omitempty"`
}

// kind is a code with its title. The statuses that a code comes with are in the OpenAPI document.
type kind struct{ code, title string }

var (
	kindBadRequest   = kind{"bad_request", "The request cannot be understood"}
	kindMethod       = kind{"method_not_allowed", "This path does not take the method"}
	kindNotFound     = kind{"not_found", "There is nothing at this path"}
	kindUnauthorized = kind{"unauthorized", "A valid key is needed"}
	kindForbidden    = kind{"forbidden", "This is not allowed"}
	kindTooLarge     = kind{"too_large", "The request is too large"}
	kindInvalid      = kind{"invalid_query", "ClickHouse cannot run this SQL"}
	kindLimit        = kind{"limit_exceeded", "The question is over a limit of the reader"}
	kindTimeout      = kind{"timeout", "The question took too long"}
	kindNotYet       = kind{"not_yet", "Not all rows of the receipt are in yet"}
	kindBusy         = kind{"busy", "Too much is being asked at once"}
	kindUnavailable  = kind{"unavailable", "A part of the installation cannot be reached"}
	kindInternal     = kind{"internal", "The query service is set up wrongly or has a fault"}
)

func newProblem(status int, k kind, detail string) *problem {
	return &problem{Type: "urn:millrace:problem:" + k.code, Title: k.title, Status: status, Detail: detail, Code: k.code}
}

// Error implements error.
func (p *problem) Error() string { return p.Title + ": " + p.Detail }

// retryAfter is the seconds after which an answer that may go away by itself is worth asking for again.
const retryAfter = 1

// write sends the problem as the whole answer.
func (p *problem) write(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	switch p.Status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable:
		h.Set("Retry-After", strconv.Itoa(retryAfter))
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="millrace"`)
	}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the reader is gone; there is nobody to tell
}
