package ingester

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/bus/sources"
	"github.com/millrace/millrace/libs/event"
	"github.com/millrace/millrace/libs/failpoint"
	"github.com/millrace/millrace/libs/svc"
	"github.com/millrace/millrace/services/ingester/dialect"
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
	source, err := s.sourceOf(r)
	if err != nil {
		return reply{}, err
	}
	if source == nil && to.tongue == tongueEvents { // its body has no key
		return reply{}, s.unknownKey()
	}
	d, err := s.wait(r.Context())
	if err != nil {
		return reply{}, err
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

// held is a request whose events are in frames that are on their way.
type held struct {
	answer   []byte // all of it but the receipt
	accepted int
	refused  map[event.Reason]int
	until    time.Time
	done     chan result // of one
}

// result is what a ticket says in the end.
type result struct {
	receipt bus.Receipt
	err     error
}

// sized names the limit that a body is over: it is lower where NATS carries
// smaller messages.
func (d *door) sized(err error) error {
	if errors.Is(err, event.ErrTooLarge) {
		return fmt.Errorf("%w of %d bytes, which holds after decompression too", event.ErrTooLarge, d.limits.MaxRequest)
	}
	return err
}

// asked is a request with events in it.
type asked struct {
	r      *http.Request
	path   string
	mapper dialect.Mapper // nil: the body's events are in the words of package event
	head   string         // how the answer begins
	from   origin         // without a source when named is set
	seat   *seat
	named  func(key string) (*sources.Source, error) // whose the key in the body is
}

// takeRequest stores the events of one request and returns the answer.
func (d *door) takeRequest(a *asked) ([]byte, error) {
	if a.r.ContentLength > int64(d.limits.MaxRequest) {
		drain(a.r)
		return nil, d.sized(event.ErrTooLarge)
	}
	// A key in the body is known later: store says whose it is.
	seat, err := d.enter(a.r, &a.from, failpoint.Now())
	if err != nil {
		drain(a.r)
		return nil, err
	}
	defer seat.leave()
	a.seat = seat
	h, err := d.store(a)
	if err != nil {
		drain(a.r)
		return nil, d.sized(err)
	}
	receipt, err := d.await(a.r.Context(), h)
	if err != nil {
		return nil, err
	}
	d.m.stored(doorHTTP, h.accepted, h.refused)
	return closeAnswer(h.answer, receipt.String()), nil
}

// store reads a request and gives its rows to the lanes.
func (d *door) store(a *asked) (held, error) {
	in := d.intakes.Get().(*intake)
	defer d.intakes.Put(in)
	spent, err := d.receive(in, a.r.Body)
	defer func() { d.budget.free(spent) }()
	if err != nil {
		return held{}, err
	}
	reasons, isDeclared := a.r.Header["Millrace-Refused"]
	isDeclared = isDeclared && a.mapper == nil
	label := a.r.Header.Get("Content-Encoding")
	encoding := ""
	if !isDeclared || label != "" { // what was declared to be no event may begin like anything
		encoding = encodingOf(label, in.wire)
	}
	body, more, err := d.decode(in, encoding, in.wire)
	spent += more
	if err != nil {
		return held{}, err
	}
	switch {
	case a.mapper != nil:
		more, err = d.translate(in, a, body)
		spent += more
	case !isDeclared:
		in.start(a.from)
		err = in.read(body)
	case len(body) == 0:
		err = &event.SyntaxError{Line: 1, Msg: "an empty body"}
	default:
		in.start(a.from)
		in.refuseWhole(body, event.ReasonDeclared, declared(strings.Join(reasons, ", ")))
	}
	if err != nil {
		return held{}, err
	}
	h := held{
		answer: in.openAnswer(nil, a.head), accepted: in.accepted, refused: in.refusedBy(),
		until: failpoint.Now().Add(d.cfg.Hold), done: make(chan result, 1),
	}
	err = d.put(in, h.until, func(receipt bus.Receipt, err error) { h.done <- result{receipt, err} })
	return h, err
}

// translate makes rows of a body in the words of a dialect.
func (d *door) translate(in *intake, a *asked, body []byte) (spent int64, err error) {
	q := dialect.Request{Path: a.path, Query: a.r.URL.Query(), Header: a.r.Header, Body: body}
	if a.r.Method == http.MethodGet {
		q.Body = nil
	}
	m, spent, err := d.mapped(a.mapper, &q)
	if err != nil {
		return spent, err
	}
	if a.named != nil {
		source, err := a.named(m.WriteKey)
		if err != nil {
			return spent, err
		}
		a.from.source = source.Name
		if err = a.seat.become(source.Name); err != nil {
			return spent, err
		}
	}
	in.start(a.from)
	in.take(m)
	return spent, nil
}

// await holds a request until its frames are acknowledged.
func (d *door) await(ctx context.Context, h held) (bus.Receipt, error) {
	d.m.held.Inc()
	defer d.m.held.Dec()
	// A little longer than the frames try, so that they say why it failed.
	timer := time.NewTimer(failpoint.Left(h.until, d.cfg.Hold) + d.cfg.Hold/10)
	defer timer.Stop()
	select {
	case r := <-h.done:
		return r.receipt, r.err
	case <-timer.C:
		return bus.Receipt{}, errNoAck
	case <-ctx.Done():
		return bus.Receipt{}, errors.Join(errNoAck, ctx.Err())
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
