package live

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/services/query/tail"
)

// leaseService is the name under which the query services agree who publishes.
const leaseService = "live"

// probeEvery is how often a source that nobody listens to is tried, and one that somebody listens to is asked whether
// that is still so.
const probeEvery = time.Second

// HeaderPlace names the place of an event in a message to millrace.live.<source>: shard:sequence:index.
const HeaderPlace = "Millrace-Place"

// publish publishes the events of the tail on core NATS, in one of all query services at a time.
func (l *Live) publish(ctx context.Context) error {
	return again(ctx, l.publishOnce, func(err error) { l.log.Warn("publishing live events begins again", "err", err) })
}

// again runs once again and again until ctx is done, after pauses that grow; one that ran for longer than the longest pause
// was good, and the pauses begin anew.
func again(ctx context.Context, once func(context.Context) error, failed func(error)) error {
	const first, last = 200 * time.Millisecond, 10 * time.Second
	for delay := first; ; delay = min(2*delay, last) {
		began := time.Now()
		err := once(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			failed(err)
		}
		if time.Since(began) > last {
			delay = first
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(delay):
		}
	}
}

func (l *Live) publishOnce(ctx context.Context) error {
	open, cancel := context.WithTimeout(ctx, request)
	defer cancel()
	kv, err := l.cfg.JS.KeyValue(open, l.cfg.Names.BucketLeases())
	if err != nil {
		return fmt.Errorf("%w: open the leases: %w", ErrUnavailable, err)
	}
	leases, err := bus.NewLeases(bus.LeaseConfig{KV: kv, Service: leaseService, Shards: 1, Log: l.log})
	if err != nil {
		return err
	}
	return leases.Run(ctx, func(ctx context.Context, _ int) error {
		p := &publisher{l: l, sources: map[string]*audience{}}
		// Its own prefix: the answers to the probes come to it, with the source as the last token.
		p.inbox = l.cfg.NC.NewInbox()
		answers, err := l.cfg.NC.Subscribe(p.inbox+".*", p.answered)
		if err != nil {
			return fmt.Errorf("listen for who listens: %w", err)
		}
		defer func() { _ = answers.Unsubscribe() }() // nothing comes any more
		return p.run(ctx)
	})
}

// publisher publishes while somebody listens, source by source. NATS does not tell a publisher who listens, but it answers
// a message that wants an answer and that nobody gets: so an event of a source is such a message once a second. While none
// comes back, somebody listens. When nobody does, one event a second is all that is written.
type publisher struct {
	l     *Live
	inbox string
	buf   []byte

	mu      sync.Mutex // guards sources: answers come on a goroutine of NATS
	sources map[string]*audience
}

// audience is what is known of who listens to a source.
type audience struct {
	subject string
	probed  time.Time
	absent  bool // nobody got the last probe
}

// answered takes the server's word that a message went to nobody.
func (p *publisher) answered(m *nats.Msg) {
	if m.Header.Get("Status") != "503" {
		return // a listener answers; it is one
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if a := p.sources[strings.TrimPrefix(m.Subject, p.inbox+".")]; a != nil {
		a.absent = true
	}
}

// wanted says whether an event of the source is published, and where the answer goes if it is a probe.
func (p *publisher) wanted(source string, now time.Time) (subject, reply string, yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.sources[source]
	if a == nil {
		if bus.ValidSource(source) != nil {
			return "", "", false
		}
		a = &audience{subject: p.l.cfg.Names.Live(source)}
		p.sources[source] = a
	}
	if now.Sub(a.probed) < probeEvery {
		return a.subject, "", !a.absent
	}
	a.probed, a.absent = now, false
	return a.subject, p.inbox + "." + source, true
}

// run publishes from the newest frames on, until ctx is done. A live stream has no past: who was away goes on with now.
func (p *publisher) run(ctx context.Context) error {
	select {
	case <-p.l.cfg.Tail.Ready():
	case <-ctx.Done():
		return nil
	}
	sub := p.l.cfg.Tail.Subscribe(bus.Receipt{})
	for {
		f, err := sub.Next(ctx)
		_, isGap := errors.AsType[*tail.GapError](err)
		switch {
		case ctx.Err() != nil:
			return nil
		case isGap:
		case err != nil:
			return err // and the lease begins again, after a while and with now
		default:
			if err := p.take(f); err != nil {
				return err
			}
		}
	}
}

func (p *publisher) take(f *tail.Frame) error {
	view, err := f.View()
	if err != nil {
		return err
	}
	now := time.Now()
	n := 0
	for r := range view.Rows() {
		x := row{view, r}
		subject, reply, ok := p.wanted(string(x.v.Str(frame.ColSource, r)), now)
		if !ok {
			continue
		}
		p.buf = appendEvent(p.buf[:0], f.Place.Shard, f.Place.Seq, x)
		m := &nats.Msg{Subject: subject, Reply: reply, Data: p.buf, Header: nats.Header{HeaderPlace: {
			strconv.Itoa(f.Place.Shard) + ":" + strconv.FormatUint(f.Place.Seq, 10) + ":" + strconv.Itoa(r),
		}}}
		// The client copies the message into its buffer. While NATS is away nobody listens either.
		if err := p.l.cfg.NC.PublishMsg(m); err != nil {
			continue
		}
		n++
	}
	p.l.metrics.published.Add(float64(n))
	return nil
}
