package enricher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
)

// auditEvery is the time between two looks at whether RAW is still the log
// that is being read.
const auditEvery = 5 * time.Second

// errReplaced says that RAW went back while it was read. Unlike what a
// takeover finds, it cannot be seen again later: the shard stays shut for the
// life of the process.
var errReplaced = errors.New("RAW went back while it was read; frames may have been skipped")

// audit compares a frame read some seconds ago with what RAW holds at its
// sequence now. A server that lost the end of its log (power failure, restored
// backup) gives sequences twice; a reader that stands beyond them would skip
// what comes first and never know.
type audit struct {
	seq uint64 // 0: nothing to compare yet
	id  string
}

// check compares, and remembers the frame to compare next time.
func (a *audit) check(ctx context.Context, raw jetstream.Stream, seq uint64, id string) error {
	if a.seq != 0 {
		ctx, cancel := context.WithTimeout(ctx, apiTimeout)
		defer cancel()
		info, err := raw.Info(ctx)
		if err != nil {
			return nil // NATS is away; the frame keeps
		}
		if info.State.LastSeq < a.seq {
			return fmt.Errorf("RAW ends at %d, frame %d was read: %w: %w", info.State.LastSeq, a.seq, errReplaced, ErrShut)
		}
		msg, err := raw.GetMsg(ctx, a.seq)
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound): // trimmed
		case err != nil:
			return nil
		case msg.Header.Get(bus.HeaderFrame) != a.id:
			return fmt.Errorf("RAW holds frame %q at %d, frame %q was read there: %w: %w", msg.Header.Get(bus.HeaderFrame), a.seq, a.id, errReplaced, ErrShut)
		}
	}
	a.seq, a.id = seq, id
	return nil
}
