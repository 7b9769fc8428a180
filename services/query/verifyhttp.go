package query

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/millrace/millrace/services/query/problem"
	"github.com/millrace/millrace/services/query/reader"
)

const (
	defaultVerifyWait = 10 * time.Second
	maxVerifyWait     = 10 * time.Minute
)

// verifyLine is one line of the answer of POST /v1/verify; one of its members is set. The last line holds the report
// or the error.
type verifyLine struct {
	Progress *Progress        `json:"progress,omitempty"`
	Report   *Report          `json:"report,omitempty"`
	Error    *problem.Problem `json:"error,omitempty"`
}

// serveVerify is POST /v1/verify.
func (s *Service) serveVerify(w http.ResponseWriter, r *http.Request) error {
	wait := defaultVerifyWait
	for name, values := range r.URL.Query() {
		d, err := time.ParseDuration(values[0])
		if name != "wait" || len(values) > 1 || err != nil || d < 0 || d > maxVerifyWait {
			return problem.New(http.StatusBadRequest, problem.BadRequest,
				"there is one parameter, wait: the time to wait for what was accepted before, such as 10s, up to "+maxVerifyWait.String())
		}
		wait = d
	}
	select {
	case s.verifies <- struct{}{}:
		defer func() { <-s.verifies }()
	default:
		return problem.New(http.StatusTooManyRequests, problem.Busy, "another reconciliation is running")
	}
	if _, err := s.installation(r.Context()); err != nil {
		return err // still with a status of its own
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	rc := http.NewResponseController(w)
	enc := json.NewEncoder(w)
	line := func(l verifyLine) {
		_ = rc.SetWriteDeadline(time.Now().Add(reader.Stall))
		_ = enc.Encode(l) // if the reader is gone, its context ends the reconciliation
		_ = rc.Flush()
	}
	var told time.Time
	report, err := s.Verify(r.Context(), VerifyOptions{Wait: wait}, func(p Progress) {
		if time.Since(told) >= 100*time.Millisecond {
			told = time.Now()
			line(verifyLine{Progress: &p})
		}
	})
	if err != nil {
		if r.Context().Err() == nil {
			s.log.Warn("a reconciliation did not finish", "err", err)
		}
		line(verifyLine{Error: asProblem(err)})
		return nil
	}
	line(verifyLine{Report: &report})
	return nil
}
