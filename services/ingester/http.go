package ingester

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/libs/bus/sources"
	"github.com/millrace/millrace/libs/failpoint"
	"github.com/millrace/millrace/libs/svc"
)

const (
	maxKey       = 255 // of an Idempotency-Key
	maxRequestID = 128
)

// serve answers one request.
func (s *Ingester) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	id := r.Header.Get("X-Request-Id")
	if !printable(id, maxRequestID) {
		id = newRequestID()
	}
	h.Set("X-Request-Id", id)
	h.Set("X-Content-Type-Options", "nosniff")
	allowOrigin(h, r)
	to := s.find(r)
	if n := r.Header.Get("X-Retry-Count"); n != "" && n != "0" {
		s.m.retried[to.tongue].Inc()
	}
	if r.Method == http.MethodOptions && to.known() && s.local(r) == nil {
		allowRequest(h, r)
		h.Set("Allow", to.allowed())
		s.m.answered(to.tongue, http.StatusNoContent, "")
		w.WriteHeader(http.StatusNoContent)
		return
	}
	answer, err := s.route(w, r, &to)
	if err != nil {
		p := problemOf(err)
		if to.tongue == tongueSegment && p.Status == http.StatusRequestEntityTooLarge {
			p.become(http.StatusBadRequest) // what Segment answers, and its SDKs know
		}
		p.RequestID = id
		if p.Status == http.StatusMethodNotAllowed {
			h.Set("Allow", to.allowed())
		}
		s.m.answered(to.tongue, p.Status, p.Code)
		writeProblem(w, p)
		return
	}
	s.m.answered(to.tongue, http.StatusOK, "")
	h.Set("Content-Type", answer.kind)
	failpoint.At(failpoint.IngesterAnswerBefore)
	_, _ = w.Write(answer.body) // the sender is gone; the events are stored
	failpoint.At(failpoint.IngesterAnswerAfter)
}

// newRequestID names a request whose sender did not, so that an answer can be found again in what both sides log.
func newRequestID() string { return strconv.FormatUint(rand.Uint64(), 36) }

// local refuses a foreign name on a loopback address: a page of another origin may not come here by DNS rebinding.
func (s *Ingester) local(r *http.Request) error {
	if s.loopback && !svc.LocalName(r.Host) {
		return newProblem(http.StatusForbidden, "unknown_host",
			"this address is for this machine only; call it localhost or 127.0.0.1, or listen on another one with --ingest-addr")
	}
	return nil
}

func (s *Ingester) route(w http.ResponseWriter, r *http.Request, to *route) (reply, error) {
	if err := s.local(r); err != nil {
		return reply{}, err
	}
	if !to.known() {
		return reply{}, newProblem(http.StatusNotFound, "not_found", "there is nothing at this path; events are taken at POST "+pathEvents+
			" and at the paths of Segment's and PostHog's SDKs")
	}
	do := to.task(r.Method)
	if do == nil {
		return reply{}, newProblem(http.StatusMethodNotAllowed, "method_not_allowed", "this path takes "+to.allowed())
	}
	return do(s, w, r, to)
}

// takeEvents stores the events of a request.
func (s *Ingester) takeEvents(_ http.ResponseWriter, r *http.Request, to *route) (reply, error) {
	if r.Method == http.MethodHead {
		return reply{kind: "application/json"}, nil
	}
	known := s.sources.Loaded() // before they are looked at: what was not there then may be a moment later
	source, err := s.sourceOf(r)
	if err != nil {
		return reply{}, err
	}
	if source == nil && known && !to.keyInBody() {
		return reply{}, s.unknownKey(known)
	}
	d, err := s.wait(r.Context())
	if err != nil {
		return reply{}, err
	}
	if source == nil && !known {
		known = s.sources.Loaded()
		if source, err = s.sourceOf(r); err != nil {
			return reply{}, err
		}
	}
	if source == nil && !to.keyInBody() {
		return reply{}, s.unknownKey(known)
	}
	a := asked{r: r, path: to.path, mapper: d.mappers[to.tongue], head: to.head(), from: origin{
		door: doorHTTP, ip: s.cfg.TrustedProxies.ClientIP(r),
		userAgent: strings.ToValidUTF8(truncate(r.UserAgent(), maxUserAgent), ""),
		ndjson:    isNDJSON(r.Header.Get("Content-Type")),
		key:       r.Header.Get("Idempotency-Key"),
	}}
	if source != nil {
		a.from.source = source.Name
	} else {
		a.named = func(key string) (*sources.Source, error) { return s.sourceInBody(r, key) }
	}
	if a.from.key != "" && !printable(a.from.key, maxKey) {
		return reply{}, newProblem(http.StatusBadRequest, "bad_idempotency_key",
			fmt.Sprintf("the header Idempotency-Key must be 1 to %d printable ASCII characters", maxKey))
	}
	body, err := d.takeRequest(&a)
	return reply{kind: "application/json", body: body}, err
}

// wait returns the door once the streams are known, which is at once but for
// the time after a start.
func (s *Ingester) wait(ctx context.Context) (*door, error) {
	select {
	case <-s.opened:
		return s.door, nil
	default:
	}
	timer := time.NewTimer(s.cfg.Hold)
	defer timer.Stop()
	select {
	case <-s.opened:
		return s.door, nil
	case <-s.stopping:
		return nil, errDraining
	case <-timer.C:
		return nil, errStarting
	case <-ctx.Done():
		return nil, errStarting
	}
}

// printable says whether text is 1 to most printable ASCII characters.
func printable(text string, most int) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return text != "" && len(text) <= most
}

func truncate(text string, most int) string { return text[:min(len(text), most)] }
