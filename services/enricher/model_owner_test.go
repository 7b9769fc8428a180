package enricher

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/testkit/explore"
)

// owner is one ownership of the shard, with a connection of its own: what it
// publishes arrives in order, and so do the replies.
type owner struct {
	w      *world
	n      int
	strict bool // it refuses more than others, as another version may
	shard  *shard
	stop   context.CancelFunc
	done   chan struct{} // closed when it has ended
	err    error

	dead    bool // killed: it goes no further and is never heard of again
	stopped bool // it was told to end
	ended   bool // it has
	asleep  bool // its loop may be waiting for a delay
	calls   []*call
	wire    []*parcel // on the way to the server
	replies []*parcel // on the way back
	seen    uint64    // digest of all it has been told: its state follows from it
}

// call is something an owner asks for and waits for.
type call struct {
	ctx       context.Context
	impatient bool   // it ends with ctx's time limit as well
	who       string // the goroutine
	what      string
	plain     bool // its order does not matter
	ways      []string
	ready     func() bool // nil: at once
	do        func(way int) (state uint64, err error)
	err       error
	answered  chan struct{}
}

// parcel is a publish on its way to the server, and its answer on the way back.
type parcel struct {
	o     *owner
	msg   *nats.Msg
	what  string
	frame bool // of ENRICHED; else it is a dead letter
	state uint64
	err   error // the answer, nil for yes
	ok    chan *jetstream.PubAck
	fail  chan error
}

func (p *parcel) Ok() <-chan *jetstream.PubAck { return p.ok }
func (p *parcel) Err() <-chan error            { return p.fail }
func (p *parcel) Msg() *nats.Msg               { return p.msg }

// begin starts another owner.
func (w *world) begin() {
	in := w.in
	o := &owner{w: w, n: len(w.owners), done: make(chan struct{})}
	o.strict = in.strict && o.n%2 == 1
	o.seen = explore.Mix(7, uint64(o.n), uint64(time.Since(w.began)))
	cfg := in.cfg
	cfg.process = strconv.Itoa(o.n)
	if o.strict {
		cfg.Limits.MaxEvent = strictEvent
	}
	o.shard = &shard{
		cfg: &cfg, inst: bus.Installation{Names: modelNames, Shards: 1, Sinks: 1, Incarnation: modelIncarnation}, names: modelNames,
		js: simJS{o: o}, kv: simKV{o: o}, maxPayload: 1 << 20, log: cfg.Log, m: in.metrics, lanes: in.lanes, note: func(error) {},
	}
	ctx, cancel := context.WithCancel(context.Background())
	o.stop = cancel
	w.owners, w.current = append(w.owners, o), o
	go func() {
		defer close(o.done)
		defer cancel()
		o.err = o.shard.once(ctx)
	}()
}

// kill ends an owner where it is. What it has sent may still arrive.
func (o *owner) kill() {
	o.dead, o.ended = true, true
	o.w.late = append(o.w.late, o.wire...)
	o.wire, o.replies = nil, nil
	o.stop()
	for _, c := range o.calls {
		close(c.answered)
	}
	o.calls = nil
}

// ask is a call that fails or not.
func (o *owner) ask(ctx context.Context, what string, plain bool, do func() uint64) error {
	return o.call(&call{ctx: ctx, what: what, plain: plain, ways: []string{"", "no answer"}, do: func(way int) (uint64, error) {
		if way == 1 {
			return 1, errAway
		}
		return do(), nil
	}})
}

// call waits until the world has answered.
func (o *owner) call(c *call) error {
	c.who, c.answered = goroutine(), make(chan struct{})
	if c.who == "look" { // it only tells the status
		return errAway
	}
	o.w.mu.Lock()
	if o.dead {
		o.w.mu.Unlock()
		runtime.Goexit()
	}
	o.calls = append(o.calls, c)
	o.w.mu.Unlock()
	select {
	case <-c.answered:
	case <-c.ctx.Done():
		if !c.impatient && errors.Is(c.ctx.Err(), context.DeadlineExceeded) {
			<-c.answered // the world is slow, not the server
			break
		}
		o.w.mu.Lock()
		o.calls = slices.DeleteFunc(o.calls, func(x *call) bool { return x == c })
		dead := o.dead
		o.w.mu.Unlock()
		if dead {
			runtime.Goexit()
		}
		return c.ctx.Err()
	}
	if o.dead {
		runtime.Goexit()
	}
	return c.err
}

// goroutine names the goroutine of an ownership that calls.
func goroutine() string {
	var pcs [40]uintptr
	callers := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		f, more := callers.Next()
		for name, who := range map[string]string{
			"(*reader).run": "reader", "(*letters).run": "letters", "(*letters).tell": "tell", "(*shard).look": "look",
		} {
			if strings.HasSuffix(f.Function, name) {
				return who
			}
		}
		if !more {
			return "loop"
		}
	}
}

// PublishMsgAsync puts a message on the wire.
func (j simJS) PublishMsgAsync(msg *nats.Msg, _ ...jetstream.PublishOpt) (jetstream.PubAckFuture, error) {
	o, w := j.o, j.o.w
	sent := &nats.Msg{Subject: msg.Subject, Header: msg.Header, Data: slices.Clone(msg.Data)}
	p := &parcel{o: o, msg: sent, frame: msg.Subject == modelNames.Enriched(0), ok: make(chan *jetstream.PubAck, 1), fail: make(chan error, 1)}
	if p.frame {
		p.what = fmt.Sprintf("the frame after %s of owner %d", msg.Header.Get(jetstream.ExpectedLastSeqHeader), o.n)
	} else {
		p.what = fmt.Sprintf("dead letter %s of owner %d", msg.Header.Get(bus.HeaderIdentity), o.n)
	}
	// What it says of dead letters depends on when it was made.
	p.state = explore.MixText(13, p.what)
	if p.frame {
		p.state = explore.Mix(p.state, o.shard.letters.reachedNow())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if o.dead {
		runtime.Goexit()
	}
	o.wire = append(o.wire, p)
	if w.in.variant.sent != nil && p.frame {
		w.in.variant.sent(o, p)
	}
	return p, nil
}

func (l *letters) reachedNow() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reached()
}

// waiting says whether the owner's loop waits for whatever comes first, so that
// it can be told something. If it could be told two things at once, which of
// them it hears first would be nobody's decision.
func (o *owner) waiting() bool {
	return !o.asleep && !slices.ContainsFunc(o.calls, func(c *call) bool { return c.who == "loop" })
}

// of is the call of one of the owner's goroutines, nil if it waits for none.
func (o *owner) of(who string) *call {
	for _, c := range o.calls {
		if c.who == who && (c.ready == nil || c.ready()) {
			return c
		}
	}
	return nil
}
