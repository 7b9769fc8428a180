package enricher

import "errors"

var (
	// ErrShut says that a shard's streams contradict each other: a log went
	// back or was replaced. Nothing is written until an operator has looked.
	ErrShut = errors.New("the shard stays shut until `millrace recover` has been run")
	// ErrFenced says that another owner has written ENRICHED: leave the shard.
	ErrFenced = errors.New("another owner has written this shard's ENRICHED stream")
	// errNewerCodec says that a frame needs a newer build of the enricher.
	errNewerCodec = errors.New("a frame has a newer codec: upgrade the enricher")
)
