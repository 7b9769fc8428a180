package track

import (
	"context"
	"strconv"
)

// Receipt says where an event is kept.
type Receipt struct {
	// In is the sequence of its message in Millrace's stream IN.
	In uint64
	// MessageID is the event's id, the column event_id.
	MessageID string
}

// String is the receipt as the query service takes it: ?after=in:<sequence>
// answers when the event is in ClickHouse. It is "" for the zero Receipt.
func (r Receipt) String() string {
	if r.In == 0 {
		return ""
	}
	return "in:" + strconv.FormatUint(r.In, 10)
}

// Future is the end of an event that has not come yet.
type Future struct {
	b  *batch
	id string
}

// Done is closed when the event is acknowledged or reported.
func (f *Future) Done() <-chan struct{} { return f.b.done }

// Wait waits until then, or until ctx is done. Its error is what OnError was
// given, or that of ctx; the event goes its way then all the same.
func (f *Future) Wait(ctx context.Context) (Receipt, error) {
	if err := f.b.wait(ctx); err != nil {
		return Receipt{}, err
	}
	if f.b.err != nil {
		return Receipt{}, f.b.err
	}
	return Receipt{In: f.b.seq, MessageID: f.id}, nil
}
