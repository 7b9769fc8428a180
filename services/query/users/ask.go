package users

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event"
	"github.com/millrace/millrace/services/query/problem"
)

// Request is an ask.
type Request struct {
	Source    string        // the key's
	Body      []byte        // one event, in any form that the door takes
	IP        string        // of who asks, "" if unknown
	UserAgent string        // of who asks
	Recent    int           // events that are shown; 0 is 20
	Wait      time.Duration // for the event to be stored and come back; 0 is 10 s
}

const defaultWait = 10 * time.Second

// MaxBody bounds the event of an ask; the door takes 32 KiB.
const MaxBody = 64 << 10

// Ask stores the event and answers with the context of its user, the event included. Errors are problems.
func (u *Users) Ask(ctx context.Context, r Request) (*Context, error) {
	ev, err := readEvent(r.Body)
	if err != nil {
		return nil, problem.New(http.StatusBadRequest, problem.BadRequest, err.Error())
	}
	if ev.source != "" && ev.source != r.Source {
		return nil, problem.New(http.StatusForbidden, problem.Forbidden, fmt.Sprintf("the event is of the source %q, the key of %q", ev.source, r.Source))
	}
	if r.Wait == 0 {
		r.Wait = defaultWait
	}
	user := User{Source: r.Source, ID: ev.user}
	if ev.user == "" {
		user = User{Source: r.Source, ID: ev.anonymous, Anonymous: true}
	}
	select {
	case <-u.cfg.Tail.Ready():
	default: // before anything is stored
		return nil, u.unavailable(u.cfg.Tail.Err())
	}
	wait, cancel := context.WithTimeout(ctx, r.Wait)
	defer cancel()
	// What was stored before under the user's other ids is looked for meanwhile.
	others := make(chan reached, 1)
	shard := event.ShardOf(r.Source, []byte(user.ID), u.cfg.Tail.Shards())
	door := u.look(wait)                                                                                    // what waits there may be stored behind the event
	go func() { others <- u.barrier(wait, user, door, bus.Receipt{Places: []bus.Place{{Shard: shard}}}) }() // it ends with wait
	before := u.cfg.Tail.Reached(shard)
	began := time.Now()
	receipt, err := u.store(wait, r, ev.body)
	if err != nil {
		return nil, err
	}
	u.m.steps.WithLabelValues("store").Observe(time.Since(began).Seconds())
	for _, p := range receipt.Places {
		if p.Shard == shard && p.Seq <= before {
			return nil, problem.New(http.StatusServiceUnavailable, problem.Unavailable, fmt.Sprintf(
				"the event was stored as %s, a place that was given before: the log of shard %d has gone back; see millrace recover", receipt, shard))
		}
	}
	began = time.Now()
	if err := u.Await(wait, receipt); err != nil {
		return nil, err
	}
	u.m.steps.WithLabelValues("tail").Observe(time.Since(began).Seconds())
	settled := <-others
	for _, p := range receipt.Places {
		settled.receipt.Add(p)
	}
	return u.complete(ctx, user, Options{
		Recent: r.Recent, Own: &own{id: ev.id, receipt: receipt.String(), places: bus.Receipt{Places: slices.Clone(receipt.Places)}},
	}, settled)
}

// Await returns when the frames of a receipt are in the tail or in ClickHouse, else a problem.
func (u *Users) Await(ctx context.Context, receipt bus.Receipt) error {
	for _, p := range receipt.Places {
		err := u.cfg.Tail.Await(ctx, p)
		switch {
		case err == nil:
			continue
		case u.cfg.Tail.Err() != nil:
			return u.unavailable(err)
		}
		not := problem.New(http.StatusGatewayTimeout, problem.NotYet, fmt.Sprintf("what was stored as %s has not come back in time: %v", receipt, err))
		have := u.cfg.Tail.Position()
		for _, p := range receipt.Places {
			if p.Shard < len(have) {
				not.Shards = append(not.Shards, problem.Waiting{Shard: p.Shard, Want: p.Seq, Have: have[p.Shard]})
			}
		}
		return not
	}
	return nil
}

// store sends the event through an ingester's door.
func (u *Users) store(ctx context.Context, r Request, body []byte) (receipt bus.Receipt, err error) {
	msg := nats.NewMsg(u.cfg.Names.Door(r.Source))
	msg.Data = body
	msg.Header.Set(bus.HeaderClientIP, r.IP)
	msg.Header.Set(bus.HeaderUserAgent, r.UserAgent)
	reply, err := u.cfg.NC.RequestMsgWithContext(ctx, msg)
	if err != nil {
		what := "the event may be stored or not: send it again with the same message_id"
		switch {
		case errors.Is(err, nats.ErrNoResponders):
			what = "there is no ingester: the event is not stored"
		case errors.Is(err, nats.ErrReconnectBufExceeded): // the connection keeps nothing for later
			what = "NATS is away: the event is not stored"
		}
		return receipt, problem.New(http.StatusServiceUnavailable, problem.Unavailable, fmt.Sprintf("%s (%v)", what, err))
	}
	status, _ := strconv.Atoi(reply.Header.Get(bus.HeaderStatus))
	var answer struct {
		Accepted int
		Rejected []struct{ Reason string }
		Receipt  string
		Detail   string
	}
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return receipt, fmt.Errorf("the ingester's answer %q: %w", reply.Data, err)
	}
	switch {
	case status == http.StatusOK && answer.Accepted == 1:
	case status == http.StatusOK && len(answer.Rejected) > 0:
		return receipt, problem.New(http.StatusBadRequest, problem.BadRequest,
			fmt.Sprintf("the event was refused and is kept as a dead letter (%s): %s", answer.Receipt, answer.Rejected[0].Reason))
	case status == http.StatusTooManyRequests:
		return receipt, problem.New(status, problem.Busy, answer.Detail)
	case status == http.StatusServiceUnavailable:
		return receipt, problem.New(status, problem.Unavailable, answer.Detail)
	case status == http.StatusRequestEntityTooLarge:
		return receipt, problem.New(status, problem.TooLarge, answer.Detail)
	default:
		return receipt, problem.New(http.StatusBadRequest, problem.BadRequest, answer.Detail)
	}
	// The shards were checked by whoever wrote it.
	if receipt, err = bus.ParseReceipt(answer.Receipt, 1<<16); err != nil || len(receipt.Places) == 0 {
		return receipt, fmt.Errorf("the ingester's receipt %q: %w", answer.Receipt, err)
	}
	return receipt, nil
}

// asked is the event of an ask: the body as it is stored, and what of it matters here.
type asked struct {
	body                        []byte
	source, user, anonymous, id string
}

var errEvent = errors.New("the body is not one event")

// readEvent takes the event apart at its top level and puts it together with an id, so that its row can be recognised, and
// the mark of a request. The door judges it; what it would refuse stays as it is.
func readEvent(body []byte) (ev asked, err error) {
	d := json.NewDecoder(bytes.NewReader(body))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return ev, fmt.Errorf("%w: want a JSON object like {\"user_id\": \"u-1\", \"event_type\": \"help_requested\"}", errEvent)
	}
	out := []byte{'{'}
	member := func(key string, value []byte) {
		if len(out) > 1 {
			out = append(out, ',')
		}
		name, _ := json.Marshal(key) // a string
		out = append(append(append(out, name...), ':'), value...)
	}
	texts := map[string]*string{
		"user_id": &ev.user, "userId": &ev.user, "anonymous_id": &ev.anonymous, "anonymousId": &ev.anonymous,
		"message_id": &ev.id, "messageId": &ev.id, "source": &ev.source,
	}
	for d.More() {
		t, err := d.Token()
		key, ok := t.(string)
		if err != nil || !ok {
			return ev, fmt.Errorf("%w: %w", errEvent, err)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return ev, fmt.Errorf("%w: %s: %w", errEvent, key, err)
		}
		switch {
		case key == requestMark:
			return ev, fmt.Errorf("%w: the field %s is set by ask alone", errEvent, key)
		case texts[key] != nil:
			if err := readText(value, texts[key]); err != nil {
				return ev, fmt.Errorf("%w: %s: %w", errEvent, key, err)
			}
			if texts[key] == &ev.id && ev.id == "" {
				continue // it gets one, and may not have two
			}
		}
		if key != "source" {
			member(key, value)
		}
	}
	if _, err := d.Token(); err != nil {
		return ev, fmt.Errorf("%w: %w", errEvent, err)
	}
	if d.More() {
		return ev, fmt.Errorf("%w: there is more after it", errEvent)
	}
	if ev.user == "" && ev.anonymous == "" {
		return ev, fmt.Errorf("%w: it has neither user_id nor anonymous_id", errEvent)
	}
	if ev.id == "" {
		ev.id = event.NewID()
		id, _ := json.Marshal(ev.id) // a string
		member("message_id", id)
	}
	member(requestMark, []byte("true"))
	ev.body = append(out, '}')
	return ev, nil
}

// readText reads an id as the door does: a number is its text, null is none.
func readText(value json.RawMessage, to *string) error {
	switch c := value[0]; {
	case c == 'n':
		return nil
	case c == '-' || c >= '0' && c <= '9':
		*to = string(value)
		return nil
	case c != '"':
		return errors.New("want a string")
	}
	return json.Unmarshal(value, to)
}
