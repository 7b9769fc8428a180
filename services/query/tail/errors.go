package tail

import (
	"errors"
	"fmt"
)

var (
	// ErrCodec says that a newer build writes the frames: this service must be upgraded first.
	ErrCodec = errors.New("a newer build writes these frames")
	// ErrWentBack says that a stream ends before frames of it that were read: its numbers are given a second time.
	ErrWentBack = errors.New("the log has gone back")
	// ErrStopped says that the tail is not followed any more.
	ErrStopped = errors.New("the tail is not followed")
)

// GapError says that a reader has missed frames: they are no longer kept, in memory or in the stream. The reader may go
// on; its next frame is To+1.
type GapError struct {
	Shard    int
	From, To uint64
}

// Error implements error.
func (e *GapError) Error() string {
	return fmt.Sprintf("frames %d to %d of shard %d are no longer kept", e.From, e.To, e.Shard)
}
