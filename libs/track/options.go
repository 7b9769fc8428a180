package track

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Option changes a default of [New].
type Option func(*config) error

type config struct {
	prefix      string
	onError     func(event []byte, err error)
	context     Context
	queueEvents int
	queueBytes  int
	maxEvent    int
	batchEvents int
	batchBytes  int
	linger      time.Duration
	inFlight    int
	ackWait     time.Duration
	giveUp      time.Duration
}

func defaults() config {
	return config{
		prefix: "millrace", onError: func([]byte, error) {},
		queueEvents: 100_000, queueBytes: 32 << 20, maxEvent: 32 << 10,
		batchEvents: 1_000, batchBytes: 128 << 10, linger: 5 * time.Millisecond,
		inFlight: 16, ackWait: 5 * time.Second, giveUp: 5 * time.Minute,
	}
}

// OnError sets what is called with every event that is not acknowledged, and
// why; errors.Is tells the kinds. event is the caller's to keep; it is nil if the
// event could not be written as JSON, and err names it then. The default does
// nothing, and only [Client.Stats] tells.
//
// It runs in the goroutine of the call that was refused, or in one of the
// client's, perhaps in several at once, and never under a lock. It may call the
// client, but neither Flush nor Close, and must not send at once what it gets
// with ErrQueueFull: that would only call it again. A slow one holds up the
// calls that are refused. Its panics are recovered and counted.
func OnError(f func(event []byte, err error)) Option {
	return func(c *config) error {
		if f == nil {
			return errors.New("option OnError: there is no function")
		}
		c.onError = f
		return nil
	}
}

// Prefix sets the first token of Millrace's subjects; the default is millrace.
func Prefix(prefix string) Option {
	return func(c *config) error {
		if prefix == "" || strings.ContainsAny(prefix, ".*> \t\r\n$/\\") {
			return fmt.Errorf("option Prefix: %q, want one token of letters, digits, - and _", prefix)
		}
		c.prefix = prefix
		return nil
	}
}

// AllContext sets what every event has in its context: the name and version of
// the app, say. What [WithContext] and the event itself have wins.
func AllContext(all Context) Option {
	return func(c *config) error {
		c.context = merged(c.context, all)
		return nil
	}
}

// QueueLimit sets how many events, and how many bytes of them as JSON, may wait
// for their acknowledgement; the defaults are 100,000 events and 32 MiB. One
// more is [ErrQueueFull].
func QueueLimit(events, bytes int) Option {
	return func(c *config) error {
		c.queueEvents, c.queueBytes = events, bytes
		return atLeast("QueueLimit", events, bytes)
	}
}

// MaxEvent sets how many bytes an event may have; the default is 32 KiB, as the
// ingester's. A larger one is [ErrTooLarge].
func MaxEvent(bytes int) Option {
	return func(c *config) error {
		c.maxEvent = bytes
		return atLeast("MaxEvent", bytes)
	}
}

// Batch sets how many events, and how many bytes, one NATS message may hold; the
// defaults are 1,000 events and 128 KiB. The ingester takes 10,000 and 4 MiB. If
// the NATS server's max_payload is smaller, it counts.
func Batch(events, bytes int) Option {
	return func(c *config) error {
		c.batchEvents, c.batchBytes = events, bytes
		return atLeast("Batch", events, bytes)
	}
}

// Linger sets for how long a message that is not full waits for more events; the
// default is 5 ms. Zero sends each as soon as one may be in flight.
func Linger(d time.Duration) Option {
	return func(c *config) error {
		c.linger = d
		if d < 0 {
			return errors.New("option Linger: it is negative")
		}
		return nil
	}
}

// InFlight sets how many NATS messages may wait for their acknowledgement at the
// same time; the default is 16. With 1 the stream has the events in the order of
// the calls; with more, messages may overtake each other.
func InFlight(messages int) Option {
	return func(c *config) error {
		c.inFlight = messages
		return atLeast("InFlight", messages)
	}
}

// AckWait sets how long one attempt may take; the default is 5 s. After it the
// same message is sent again.
func AckWait(d time.Duration) Option {
	return func(c *config) error {
		c.ackWait = d
		return atLeast("AckWait", d)
	}
}

// GiveUpAfter sets for how long events that were queued are tried to be sent;
// the default is 5 minutes. Then they are [ErrNotStored]. No attempt begins
// later, but for the first.
func GiveUpAfter(d time.Duration) Option {
	return func(c *config) error {
		c.giveUp = d
		return atLeast("GiveUpAfter", d)
	}
}

func atLeast[N int | time.Duration](option string, values ...N) error {
	for _, v := range values {
		if v < 1 {
			return fmt.Errorf("option %s: %v is too little", option, v)
		}
	}
	return nil
}

// validate checks what options must be together.
func (c *config) validate() error {
	if c.maxEvent > c.batchBytes {
		return fmt.Errorf("an event may have %d bytes and a message %d: the message must hold an event", c.maxEvent, c.batchBytes)
	}
	if c.batchBytes > c.queueBytes {
		return fmt.Errorf("a message may have %d bytes and the queue %d: the queue must hold a message", c.batchBytes, c.queueBytes)
	}
	return nil
}

// validSource is what the ingester takes as a source (docs/nats-door.md).
func validSource(name string) error {
	letter := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
	}
	if name == "" || len(name) > 64 || strings.ContainsFunc(name, func(r rune) bool { return !letter(r) }) {
		return fmt.Errorf("source %q: want 1 to 64 letters, digits, - and _", name)
	}
	return nil
}
