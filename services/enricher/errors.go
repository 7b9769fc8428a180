package enricher

import (
	"errors"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

var (
	// ErrShut says that a shard's streams contradict each other: a log went
	// back or was replaced. Nothing is written until an operator has looked.
	ErrShut = errors.New("the shard stays shut until `millrace recover` has been run")
	// ErrFenced says that another owner has written ENRICHED: leave the shard.
	ErrFenced = errors.New("another owner has written this shard's ENRICHED stream")
	// errNewerCodec says that a frame needs a newer build of the enricher.
	errNewerCodec = errors.New("a frame has a newer codec: upgrade the enricher")
)

// codeStoreFailed is what JetStream answers when a stream is full, among other
// faults of its store.
const codeStoreFailed jetstream.ErrorCode = 10077

// isFull tells a stream without room from other faults.
func isFull(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == codeStoreFailed && strings.Contains(api.Description, "maximum")
}
