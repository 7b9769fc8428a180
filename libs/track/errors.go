package track

import "errors"

// What [OnError] and [Future.Wait] report; compare with [errors.Is].
var (
	// ErrQueueFull says that the queue holds as many events or bytes as it may:
	// NATS is away or slower than the events come.
	ErrQueueFull = errors.New("the queue is full")
	// ErrTooLarge says that the event is larger than MaxEvent or than what the
	// NATS server takes.
	ErrTooLarge = errors.New("the event is too large")
	// ErrInvalid says that the event cannot be sent as it is: a value is no JSON
	// (NaN, a channel), or it lacks what every event of its kind has.
	ErrInvalid = errors.New("the event is invalid")
	// ErrClosed says that the client was closed before the call.
	ErrClosed = errors.New("the client is closed")
	// ErrNotStored says that JetStream has not acknowledged the event until the
	// client gave up or was closed. An attempt whose answer was lost may have
	// stored it; sending the same bytes again as [Raw] is safe, because their
	// messageId makes a second one a repeat.
	ErrNotStored = errors.New("the event is not acknowledged")
)

var (
	errNotConnected = errors.New("not connected to NATS")
	errGaveUpClosed = errors.New("the client was closed before it was sent")
)
