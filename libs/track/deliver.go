package track

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Waits between the attempts of one message. The last is short, because NATS
// that is back should not wait for its events.
const (
	firstDelay = 50 * time.Millisecond
	lastDelay  = 2 * time.Second
)

// run sends batches until the queue is closed and empty. When ctx is done it
// sends nothing more, and gives up all that is left.
func (c *Client) run(ctx context.Context) {
	defer close(c.ended)
	var sending sync.WaitGroup
	defer sending.Wait()
	slots := make(chan struct{}, c.cfg.inFlight)
	for {
		// The slot first: while all are taken, the open batch fills.
		slots <- struct{}{}
		b := c.queue.next()
		if b == nil {
			return
		}
		sending.Go(func() {
			defer func() { <-slots }()
			c.deliver(ctx, b)
		})
	}
}

// deliver brings one batch into the stream, or reports its events.
func (c *Client) deliver(ctx context.Context, b *batch) {
	seq, err := c.send(ctx, b)
	// Deferred, as OnError may end its goroutine (runtime.Goexit, as a test does).
	defer c.queue.end(b, seq, err)
	if err == nil {
		return
	}
	for i := range b.ends {
		c.report(bytes.Clone(b.event(i)), err)
	}
}

func (c *Client) send(ctx context.Context, b *batch) (seq uint64, err error) {
	m := &nats.Msg{Subject: c.subject, Data: b.body, Header: nats.Header{
		jetstream.MsgIDHeader: {b.id},
		"Content-Type":        {"application/x-ndjson"}, // so that no line can spoil another
	}}
	last := errGaveUpClosed
	for attempts, delay := 0, firstDelay; ; delay = min(2*delay, lastDelay) {
		if ctx.Err() != nil {
			return 0, fmt.Errorf("%w: %w, %d attempts: %w", ErrNotStored, context.Cause(ctx), attempts, last)
		}
		c.bound()
		attempts++
		seq, err := c.attempt(ctx, m)
		if err == nil {
			return seq, nil
		}
		last = err
		pause := delay/2 + rand.N(delay/2) // not everybody at once after an outage
		switch {
		case tooLarge(err):
			return 0, fmt.Errorf("%w: %w, in a message of %d bytes: %w", ErrNotStored, ErrTooLarge, len(b.body), err)
		case forGood(err), time.Since(b.born)+pause > c.cfg.giveUp:
			return 0, fmt.Errorf("%w: %d attempts, %s after it was queued: %w", ErrNotStored, attempts, time.Since(b.born).Round(time.Millisecond), err)
		}
		c.queue.count(func(s *Stats) { s.Retries, s.LastError = s.Retries+1, err })
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

func (c *Client) attempt(ctx context.Context, m *nats.Msg) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.ackWait)
	defer cancel()
	return c.way.publish(ctx, m)
}

// bound looks how large a message may be: another server may allow less. It asks
// the connection, which may be busy writing, so no call of the caller's does it.
func (c *Client) bound() {
	bytes := c.cfg.batchBytes
	if most := c.way.most(); most > headerRoom {
		bytes = min(bytes, int(most)-headerRoom)
	}
	if c.bytes.Swap(int64(bytes)) != int64(bytes) {
		c.queue.bound(bytes)
	}
}

// report hands an event to OnError.
func (c *Client) report(event []byte, err error) {
	defer func() {
		if recover() != nil {
			c.queue.count(func(s *Stats) { s.Panics++ })
		}
	}()
	c.cfg.onError(event, err)
}
