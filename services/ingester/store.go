package ingester

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/bus/sources"
	"github.com/millrace/millrace/libs/event"
	"github.com/millrace/millrace/libs/failpoint"
	"github.com/millrace/millrace/services/ingester/dialect"
)

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
	switch {
	case isOpaque(a.r.Header):
		encoding = labelled(label)
	case !isDeclared || label != "": // what was declared to be no event may begin like anything
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
