package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// perRequest events go into a request, or a message.
const perRequest = 20

// What becomes of an event is known from its number and from what was broken
// when it was made: ClickHouse refuses the row of a poisoned one, the door one
// that is invalid, for there is no such time.
func poisoned(n int, during string) bool { return n%1009 == 5 || during == poison && n%20 == 0 }
func invalid(n int) bool                 { return n%997 == 3 }
func lettered(n int, during string) bool { return poisoned(n, during) || invalid(n) }

// poison is the fault during which many rows are poisoned.
const poison = "producers/poison"

// stretch is a row of numbers that were made during one fault.
type stretch struct {
	first, end int
	during     string
}

// producer sends numbered events, each request again and again until it is
// acknowledged: that is when a producer may forget it. What it notes is the
// truth that the verdict starts from.
type producer struct {
	name string
	lab  *lab
	send func(ctx context.Context, body []byte, events int) error

	accepted atomic.Int64 // numbers below it are acknowledged
	refusals atomic.Int64 // answers that were no acknowledgement
	repeats  atomic.Int64 // events that were sent again although acknowledged

	mu        sync.Mutex // guards stretches and last
	stretches []stretch
	last      error // why the newest refusal was one
}

// run sends until ctx ends; the request that is under way is finished, however
// long it takes, because only then is its fate known.
func (p *producer) run(ctx context.Context, rng *rand.Rand) error {
	interval := time.Duration(float64(time.Second) * perRequest / p.lab.rate)
	next := time.Now()
	for first := 0; ctx.Err() == nil; first += perRequest {
		if err := p.one(ctx, rng, first); err != nil {
			return err
		}
		// What was late is not caught up with: a producer is a person's click.
		if next = next.Add(interval); next.Before(time.Now()) {
			next = time.Now()
		}
		pause(ctx, time.Until(next))
	}
	return nil
}

// one sends the request that begins with a number.
func (p *producer) one(ctx context.Context, rng *rand.Rand, first int) error {
	if p.lab.gate.pass(ctx) != nil {
		return nil // the end of the run
	}
	defer p.lab.gate.leave()
	during := p.lab.phase()
	if err := p.until(ctx, p.body(first, during)); err != nil {
		return err
	}
	p.note(first, during)
	p.accepted.Store(int64(first + perRequest))
	if again := p.lab.repeating.Load(); again || rng.IntN(50) == 0 {
		p.repeat(ctx, rng, first, again)
	}
	return nil
}

// until sends one request until it is acknowledged.
func (p *producer) until(ctx context.Context, body []byte) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Minute)
	defer cancel()
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := p.send(ctx, body, perRequest)
		if err == nil {
			return nil
		}
		p.refusals.Add(1)
		p.mu.Lock()
		p.last = err
		p.mu.Unlock()
		if errors.Is(err, errWrongAnswer) {
			return fmt.Errorf("producer %s: %w", p.name, err)
		}
		if !pause(ctx, wait) {
			return fmt.Errorf("producer %s: no acknowledgement within five minutes, last: %w", p.name, err)
		}
	}
}

// repeat sends an earlier request again, once, or many when all producers do.
func (p *producer) repeat(ctx context.Context, rng *rand.Rand, first int, many bool) {
	times := 1
	if many {
		times = 3
	}
	for range times {
		back := rng.IntN(min(first/perRequest, 40)+1) * perRequest
		at := first - back
		if err := p.send(ctx, p.body(at, p.during(at)), perRequest); err == nil {
			p.repeats.Add(perRequest)
		}
	}
}

// body is a request: its events carry their number and what was broken when
// they were made.
func (p *producer) body(first int, during string) []byte {
	b := []byte{'['}
	padding := p.lab.padding.Load()
	for n := first; n < first+perRequest; n++ {
		if n > first {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `{"event":"Counted","messageId":"%s-%d","userId":"%s-u%d","properties":{"p":%q,"n":%d,"during":%q`,
			p.name, n, p.name, n%97, p.name, n, during)
		if padding > 0 {
			b = append(b, `,"pad":"`...)
			r := rand.New(rand.NewPCG(uint64(n), 1))
			for range padding / 16 {
				b = fmt.Appendf(b, "%016x", r.Uint64())
			}
			b = append(b, '"')
		}
		if poisoned(n, during) {
			b = append(b, `,"poison":"yes"`...)
		}
		b = append(b, '}')
		if invalid(n) {
			b = append(b, `,"timestamp":"never"`...)
		}
		b = append(b, '}')
	}
	return append(b, ']')
}

func (p *producer) note(first int, during string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if k := len(p.stretches); k > 0 && p.stretches[k-1].during == during {
		p.stretches[k-1].end = first + perRequest
		return
	}
	p.stretches = append(p.stretches, stretch{first, first + perRequest, during})
}

// during is what was broken when a number was made.
func (p *producer) during(n int) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range slices.Backward(p.stretches) {
		if n >= s.first && n < s.end {
			return s.during
		}
	}
	return ""
}

// acknowledged are the stretches up to now.
func (p *producer) acknowledged() []stretch {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.stretches)
}

func (p *producer) trouble() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

var errWrongAnswer = errors.New("the door's answer cannot be")

// overHTTP sends to the ingesters in turn.
func overHTTP(m *mill) func(ctx context.Context, body []byte, events int) error {
	client := &http.Client{Timeout: 10 * time.Second}
	turn := 0
	return func(ctx context.Context, body []byte, events int) error {
		turn++
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+m.doors[turn%each]+"/v1/events", bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("X-Write-Key", writeKey)
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }() // what it says has been read
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		switch {
		case resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode == http.StatusServiceUnavailable:
			return fmt.Errorf("%s: %s", resp.Status, text)
		case resp.StatusCode != http.StatusOK:
			return fmt.Errorf("%w: %s: %s", errWrongAnswer, resp.Status, text)
		}
		var a struct {
			Accepted int
			Rejected []json.RawMessage
		}
		if err := json.Unmarshal(text, &a); err != nil || a.Accepted+len(a.Rejected) < events {
			return fmt.Errorf("%w: %d events, answer %s", errWrongAnswer, events, text)
		}
		return nil
	}
}

// overNATS publishes to the NATS door through a proxy of the producer's own,
// until closed.
func overNATS(m *mill, name string) (send func(ctx context.Context, body []byte, events int) error, closed func(), err error) {
	wire, err := m.wire("producer>nats "+name, address(m.natsPort))
	if err != nil {
		return nil, nil, err
	}
	nc, err := nats.Connect("nats://"+wire.Addr(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond),
		nats.RetryOnFailedConnect(true), nats.IgnoreDiscoveredServers(),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // what breaks is told by Publish
	if err != nil {
		return nil, nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, nil, err
	}
	return func(ctx context.Context, body []byte, _ int) error {
		ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		_, err := js.Publish(ctx, "millrace.in."+source, body)
		return err
	}, nc.Close, nil
}

// gate lets the lab stop all producers between two requests.
type gate struct {
	mu     sync.Mutex
	open   chan struct{} // closed while the gate is open
	inside sync.WaitGroup
}

func newGate() *gate {
	g := &gate{open: make(chan struct{})}
	close(g.open)
	return g
}

func (g *gate) pass(ctx context.Context) error {
	for {
		g.mu.Lock()
		open := g.open
		select {
		case <-open:
			g.inside.Add(1)
			g.mu.Unlock()
			return nil
		default:
		}
		g.mu.Unlock()
		select {
		case <-open:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (g *gate) leave() { g.inside.Done() }

// shut waits until nobody is inside.
func (g *gate) shut() {
	g.mu.Lock()
	g.open = make(chan struct{})
	g.mu.Unlock()
	g.inside.Wait()
}

func (g *gate) reopen() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.open)
}
