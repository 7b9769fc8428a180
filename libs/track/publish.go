package track

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// way is how a message comes into the stream; in tests of time it is not NATS.
type way struct {
	// publish returns the sequence in the stream once the message is in it. It
	// may be called by several goroutines, again and again with the same message.
	publish func(ctx context.Context, m *nats.Msg) (seq uint64, err error)
	// most is how many bytes a message may have, header included; 0: not known.
	most func() int64
}

// headerRoom is more than the header of a message takes.
const headerRoom = 256

func overJetStream(nc *nats.Conn) (way, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return way{}, err
	}
	return way{
		most: nc.MaxPayload,
		publish: func(ctx context.Context, m *nats.Msg) (uint64, error) {
			// While the connection is away a message would wait in its buffer, one
			// more with every attempt; here it waits once.
			if nc.IsClosed() {
				return 0, nats.ErrConnectionClosed
			}
			if !nc.IsConnected() {
				return 0, errNotConnected
			}
			ack, err := js.PublishMsg(ctx, m, jetstream.WithRetryAttempts(0))
			if err != nil {
				return 0, because(err, nc.LastError(), m.Subject)
			}
			return ack.Sequence, nil
		},
	}, nil
}

// because adds to a timeout that the user lacks a right, which NATS does not say
// in an answer. last is the last error of the connection, perhaps of somebody
// else's message.
func because(err, last error, subject string) error {
	if errors.Is(err, context.DeadlineExceeded) && errors.Is(last, nats.ErrPermissionViolation) && strings.Contains(last.Error(), `"`+subject+`"`) {
		return fmt.Errorf("%w: %w", last, err)
	}
	return err
}

// codeTooLarge is JetStream's code for a message that is larger than the stream
// allows (nats-server, server/errors.json).
const codeTooLarge jetstream.ErrorCode = 10054

func tooLarge(err error) bool {
	api, ok := errors.AsType[jetstream.JetStreamError](err)
	return errors.Is(err, nats.ErrMaxPayload) || ok && api.APIError() != nil && api.APIError().ErrorCode == codeTooLarge
}

// forGood says whether another attempt must fail like this one.
func forGood(err error) bool {
	return tooLarge(err) || errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrConnectionDraining) ||
		errors.Is(err, nats.ErrHeadersNotSupported)
}
