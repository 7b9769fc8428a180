package ingester

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event"
	"github.com/millrace/millrace/libs/failpoint"
	"github.com/millrace/millrace/libs/svc"
)

// pathEvents is the HTTP door.
const pathEvents = "/v1/events"

// Bounds on what a connection may cost before its request is read.
const (
	headerTimeout = 5 * time.Second
	bodyTimeout   = 30 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 32 << 10
	maxKey        = 255 // of an Idempotency-Key
	maxRequestID  = 128
)

func (s *Ingester) newServer() *http.Server {
	return &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       bodyTimeout,
		WriteTimeout:      bodyTimeout + 2*s.cfg.Hold + 10*time.Second, // two: one to wait for NATS at start
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
	}
}

// serve answers one request.
func (s *Ingester) serve(w http.ResponseWriter, r *http.Request) {
	if id := r.Header.Get("X-Request-Id"); printable(id, maxRequestID) {
		w.Header().Set("X-Request-Id", id)
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	body, err := s.route(r)
	if err != nil {
		p := problemOf(err)
		if p.Status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", http.MethodPost)
		}
		s.m.answered(p.Status, p.Code)
		writeProblem(w, p)
		return
	}
	s.m.answered(http.StatusOK, "")
	w.Header().Set("Content-Type", "application/json")
	failpoint.At(failpoint.IngesterAnswerBefore)
	_, _ = w.Write(body) // the sender is gone; the events are stored
	failpoint.At(failpoint.IngesterAnswerAfter)
}

func (s *Ingester) route(r *http.Request) ([]byte, error) {
	if s.loopback && !svc.LocalName(r.Host) {
		return nil, newProblem(http.StatusForbidden, "unknown_host",
			"this address is for this machine only; call it localhost or 127.0.0.1, or listen on another one with --ingest-addr")
	}
	if strings.TrimSuffix(r.URL.Path, "/") != pathEvents {
		return nil, newProblem(http.StatusNotFound, "not_found", "events are taken at POST "+pathEvents)
	}
	if r.Method != http.MethodPost {
		return nil, newProblem(http.StatusMethodNotAllowed, "method_not_allowed", "events are taken at POST "+pathEvents)
	}
	source, ok := s.cfg.WriteKeys.Source(writeKeyOf(r))
	if !ok {
		return nil, newProblem(http.StatusUnauthorized, "unknown_write_key",
			"send a write key as X-Write-Key, as user name of Basic, or as Bearer token")
	}
	if n := r.Header.Get("X-Retry-Count"); n != "" && n != "0" {
		s.m.retried.Inc()
	}
	d, err := s.wait(r.Context())
	if err != nil {
		return nil, err
	}
	from := origin{
		door: doorHTTP, source: source, ip: s.cfg.TrustedProxies.ClientIP(r),
		userAgent: strings.ToValidUTF8(truncate(r.UserAgent(), maxUserAgent), ""),
		ndjson:    isNDJSON(r.Header.Get("Content-Type")),
		key:       r.Header.Get("Idempotency-Key"),
	}
	if from.key != "" && !printable(from.key, maxKey) {
		return nil, newProblem(http.StatusBadRequest, "bad_idempotency_key",
			fmt.Sprintf("the header Idempotency-Key must be 1 to %d printable ASCII characters", maxKey))
	}
	return d.takeRequest(r, from)
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

// takeRequest stores the events of one request and returns the answer.
func (d *door) takeRequest(r *http.Request, from origin) ([]byte, error) {
	if r.ContentLength > int64(d.limits.MaxRequest) {
		return nil, d.sized(event.ErrTooLarge)
	}
	h, err := d.store(r, from)
	if err != nil {
		err = d.sized(err)
		return nil, err
	}
	receipt, err := d.await(r.Context(), h)
	if err != nil {
		return nil, err
	}
	d.m.stored(doorHTTP, h.accepted, h.refused)
	return closeAnswer(h.answer, receipt.String()), nil
}

// store reads a request and gives its rows to the lanes.
func (d *door) store(r *http.Request, from origin) (held, error) {
	in := d.intakes.Get().(*intake)
	defer d.intakes.Put(in)
	spent, err := d.receive(in, r.Body)
	defer func() { d.budget.free(spent) }()
	if err != nil {
		return held{}, err
	}
	reasons, isDeclared := r.Header["Millrace-Refused"]
	encoding := encodingOf(r.Header.Get("Content-Encoding"))
	if encoding == "" && !isDeclared {
		encoding = sniff(in.wire)
	}
	body, more, err := d.decode(in, encoding, in.wire)
	spent += more
	if err != nil {
		return held{}, err
	}
	in.start(from)
	switch {
	case !isDeclared:
		err = in.read(body)
	case len(body) == 0:
		err = &event.SyntaxError{Line: 1, Msg: "an empty body"}
	default:
		in.refuseWhole(body, event.ReasonDeclared, declared(strings.Join(reasons, ", ")))
	}
	if err != nil {
		return held{}, err
	}
	h := held{
		answer: in.openAnswer(nil), accepted: in.accepted, refused: in.refusedBy(),
		until: failpoint.Now().Add(d.cfg.Hold), done: make(chan result, 1),
	}
	err = d.put(in, h.until, func(receipt bus.Receipt, err error) { h.done <- result{receipt, err} })
	return h, err
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
