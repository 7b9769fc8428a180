package track

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// Client sends the events of one source. It is safe for concurrent use; a
// program needs one. A nil *Client takes all calls and does nothing.
type Client struct {
	cfg      config
	subject  string
	way      way
	queue    *queue
	encoders sync.Pool
	bytes    atomic.Int64 // what queue.bound was told last

	stop  context.CancelFunc // gives up what is left
	ended chan struct{}      // closed when all goroutines have ended
}

// Stats counts events since [New], but for what says otherwise. Queued is
// Acknowledged + NotStored + Waiting.
type Stats struct {
	Queued       uint64 // taken by the queue
	Acknowledged uint64
	NotStored    uint64 // queued, but reported to OnError

	// Never queued, and reported to OnError.
	QueueFull, TooLarge, Invalid, Closed uint64

	Waiting      int // now
	WaitingBytes int // of these, as JSON

	Messages uint64 // NATS messages that were acknowledged
	Retries  uint64 // attempts to send one of them again
	Panics   uint64 // of OnError
	// LastError is why an attempt or an event failed last, though it may have
	// been stored since.
	LastError error
}

// New returns a client that publishes events of source over nc, which stays the
// caller's: close it after the client. It may be not connected yet (see
// nats.RetryOnFailedConnect), and should never give up to reconnect
// (nats.MaxReconnects(-1)): events wait while it is away. End the client with
// Close.
func New(nc *nats.Conn, source string, opts ...Option) (*Client, error) {
	if nc == nil {
		return nil, errors.New("track: there is no connection")
	}
	w, err := overJetStream(nc)
	if err != nil {
		return nil, fmt.Errorf("track: %w", err)
	}
	c, err := start(w, source, opts)
	if err != nil {
		return nil, fmt.Errorf("track: %w", err)
	}
	return c, nil
}

func start(w way, source string, opts []Option) (*Client, error) {
	if err := validSource(source); err != nil {
		return nil, err
	}
	cfg := defaults()
	for _, o := range opts {
		if err := o(&cfg); err != nil {
			return nil, err
		}
	}
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	c := &Client{
		cfg: cfg, subject: cfg.prefix + ".in." + source, way: w, queue: newQueue(&cfg), encoders: sync.Pool{New: newEncoder},
		stop: stop, ended: make(chan struct{}),
	}
	c.bound()
	go c.run(ctx)
	return c, nil
}

// Track sends an action of a user. Like all calls of its kind it only queues:
// it returns at once, and ctx bounds nothing, as what a user did is an event
// also when their request was cut; ctx carries what [WithContext] put into it.
// Maps may be changed after it has returned, but not during it.
func (c *Client) Track(ctx context.Context, m Track) { c.put(ctx, m) }

// Identify sends who a user is; see Track.
func (c *Client) Identify(ctx context.Context, m Identify) { c.put(ctx, m) }

// Page sends a view of a page; see Track.
func (c *Client) Page(ctx context.Context, m Page) { c.put(ctx, m) }

// Screen sends a view of an app's screen; see Track.
func (c *Client) Screen(ctx context.Context, m Screen) { c.put(ctx, m) }

// Group sends to which group a user belongs; see Track.
func (c *Client) Group(ctx context.Context, m Group) { c.put(ctx, m) }

// Alias sends that two ids are one user; see Track.
func (c *Client) Alias(ctx context.Context, m Alias) { c.put(ctx, m) }

// Submit sends a message of any kind like Track, and returns how to wait for its
// receipt. What fails is reported to OnError too.
func (c *Client) Submit(ctx context.Context, m Message) *Future {
	b, id := c.put(ctx, m)
	return &Future{b: b, id: id}
}

func (c *Client) put(ctx context.Context, m Message) (*batch, string) {
	if c == nil {
		return ended(ErrClosed), ""
	}
	e := c.encoders.Get().(*encoder)
	id, err := e.encode(ctx, m, c.cfg.context)
	line := e.buf.Bytes()
	var b *batch
	if err == nil {
		if size := len(line) - 1; size > c.cfg.maxEvent {
			err = fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, size, c.cfg.maxEvent)
		} else {
			b, err = c.queue.put(line, time.Now())
		}
	}
	if err != nil {
		b = ended(err)
		line = append([]byte(nil), bytes.TrimSuffix(line, []byte{'\n'})...) // nil if there is none
	}
	e.wire = wire{} // it would keep the caller's maps alive
	if e.buf.Cap() <= keptBuffer {
		c.encoders.Put(e)
	}
	if err != nil {
		c.refused(line, err)
	}
	return b, id
}

// refused counts and reports an event that is not in the queue.
func (c *Client) refused(event []byte, err error) {
	c.queue.count(func(s *Stats) {
		switch {
		case errors.Is(err, ErrQueueFull):
			s.QueueFull++
		case errors.Is(err, ErrTooLarge):
			s.TooLarge++
		case errors.Is(err, ErrClosed):
			s.Closed++
		default:
			s.Invalid++
		}
		s.LastError = err
	})
	c.report(event, err)
}

// Flush sends what waits without lingering, and returns when every event that
// was queued before the call is acknowledged or reported, or when ctx is done:
// then with its error, while the client goes on trying.
func (c *Client) Flush(ctx context.Context) error {
	if c == nil {
		return nil
	}
	for _, b := range c.queue.all(false) {
		if err := b.wait(ctx); err != nil {
			return fmt.Errorf("track: flush: %w", err)
		}
	}
	return nil
}

// Close flushes and ends the client's goroutines; later calls are reported with
// ErrClosed. When ctx is done first, it gives up: what is not acknowledged is
// reported with ErrNotStored, and Close returns the error of ctx. It may then
// take as much longer as OnError takes, and a write of the connection that is
// stuck (nats.FlusherTimeout).
func (c *Client) Close(ctx context.Context) error {
	if c == nil {
		return nil
	}
	defer func() { <-c.ended }()
	for _, b := range c.queue.all(true) {
		if err := b.wait(ctx); err != nil {
			c.stop()
			return fmt.Errorf("track: close: %w", err)
		}
	}
	return nil
}

// Stats returns the counters.
func (c *Client) Stats() Stats {
	if c == nil {
		return Stats{}
	}
	return c.queue.snapshot()
}
