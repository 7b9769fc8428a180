package ingester

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event"
	"github.com/millrace/millrace/libs/failpoint"
	"github.com/millrace/millrace/libs/svc"
)

// unsubscribeTime bounds how long stopping waits for requests that NATS has sent already.
const unsubscribeTime = 2 * time.Second

// requests is the door for services that wait for the receipt, as query does for an ask: a request on core NATS with a body
// as over HTTP, whose reply is what HTTP would answer, with its status in a header. Its frames do not linger.
type requests struct {
	sub    *nats.Subscription
	taken  sync.WaitGroup
	closed chan struct{}
	astray svc.Repeated // log lines about replies that are no inbox
}

// listen opens it.
func (d *door) listen(nc *nats.Conn) (*requests, error) {
	r := &requests{closed: make(chan struct{})}
	var err error
	r.sub, err = nc.QueueSubscribe(d.inst.Names.DoorAll(), d.inst.Names.QueueIngester(), func(msg *nats.Msg) {
		if msg.Reply != "" && !bus.MayAnswer(msg.Reply) {
			d.m.astray.Inc()
			if times, due := r.astray.Again(); due {
				d.log.Warn("a request wants its answer on a subject that is no inbox, and is left out: look who may publish it",
					"subject", msg.Subject, "reply", msg.Reply, "times", times)
			}
			return
		}
		r.taken.Add(1)
		d.takeAsked(msg, r.taken.Done)
	})
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", d.inst.Names.DoorAll(), err)
	}
	r.sub.SetClosedHandler(func(string) { close(r.closed) })
	if err := nc.FlushTimeout(unsubscribeTime); err != nil {
		d.log.Debug("NATS will know later that requests are answered here", "err", err)
	}
	return r, nil
}

// run returns when ctx is done and every request that came has its answer, or is in a lane that will give it.
func (r *requests) run(ctx context.Context, log *slog.Logger) error {
	defer r.taken.Wait()
	<-ctx.Done()
	if err := r.sub.Drain(); err != nil {
		log.Debug("requests that are on their way are lost, their senders repeat them", "err", err)
		return nil
	}
	select {
	case <-r.closed:
	case <-time.After(unsubscribeTime):
	}
	return nil
}

// takeAsked stores the events of one request; the answer is sent when RAW has them, or when they are given up.
func (d *door) takeAsked(msg *nats.Msg, finished func()) {
	in := d.intakes.Get().(*intake)
	defer d.intakes.Put(in)
	spent, err := d.readAsked(in, msg)
	defer func() { d.budget.free(spent) }()
	if err == nil {
		accepted, refused, answer := in.accepted, in.refusedBy(), in.openAnswer(nil, "")
		err = d.put(in, failpoint.Now().Add(d.cfg.Hold), func(receipt bus.Receipt, err error) {
			defer finished()
			if err != nil {
				d.reply(msg, nil, err)
				return
			}
			d.m.stored(doorAsk, accepted, refused)
			d.reply(msg, closeAnswer(answer, receipt.String()), nil)
		})
	}
	if err != nil {
		d.reply(msg, nil, err)
		finished()
	}
}

// readAsked makes rows of a request. An error is for its sender, and nothing is stored then, as over HTTP.
func (d *door) readAsked(in *intake, msg *nats.Msg) (spent int64, err error) {
	from := origin{
		door: doorAsk, source: d.inst.Names.DoorSource(msg.Subject), key: headerOf(msg.Header, "Idempotency-Key"),
		ip:        truncate(headerOf(msg.Header, bus.HeaderClientIP), maxClientIP),
		userAgent: strings.ToValidUTF8(truncate(headerOf(msg.Header, bus.HeaderUserAgent), maxUserAgent), ""),
		ndjson:    isNDJSON(headerOf(msg.Header, "Content-Type")),
	}
	if err := bus.ValidSource(from.source); err != nil {
		return 0, newProblem(http.StatusNotFound, "not_found", err.Error())
	}
	if from.key != "" && !printable(from.key, maxKey) {
		return 0, newProblem(http.StatusBadRequest, "bad_idempotency_key", fmt.Sprintf("the header Idempotency-Key must be 1 to %d printable ASCII characters", maxKey))
	}
	wire := msg.Data
	if len(wire) > d.limits.MaxRequest {
		return 0, d.sized(event.ErrTooLarge)
	}
	if !d.budget.take(int64(len(wire))) {
		return 0, errBusy
	}
	spent = int64(len(wire))
	encoding := encodingOf(headerOf(msg.Header, "Content-Encoding"), wire)
	body, more, err := d.decode(in, encoding, wire)
	spent += more
	if err != nil {
		return spent, d.sized(err)
	}
	in.start(from)
	return spent, d.sized(in.read(body))
}

// maxClientIP is the longest text of an address.
const maxClientIP = 45

// reply sends the answer, or what err says.
func (d *door) reply(msg *nats.Msg, answer []byte, err error) {
	status := http.StatusOK
	if err != nil {
		p := problemOf(err)
		status = p.Status
		answer, _ = json.Marshal(p) // strings and numbers
	}
	back := &nats.Msg{Subject: msg.Reply, Data: answer, Header: nats.Header{bus.HeaderStatus: {strconv.Itoa(status)}}}
	if err := msg.RespondMsg(back); err != nil && !errors.Is(err, nats.ErrMsgNoReply) {
		d.log.Debug("a request was not answered", "err", err) // its sender waits in vain and asks again
	}
}
