package event

import "fmt"

// Limits bounds what a door accepts. Every limit of the input is here and
// nowhere else; a value equal to the limit is accepted, one more is refused.
type Limits struct {
	// MaxRequest bounds a request body in bytes, as it arrives and again after
	// decompression. Past it the request is refused as a whole (ErrTooLarge).
	MaxRequest int
	// MaxEvents bounds the events of one request (ErrTooManyEvents).
	MaxEvents int
	// MaxEvent bounds one event in bytes as it was sent, white space inside it
	// included (ReasonTooLarge).
	MaxEvent int
	// MaxDepth bounds how many objects and arrays may lie inside each other;
	// the event itself is the first (ReasonTooDeep).
	MaxDepth int
	// MaxKeys bounds the keys of all objects of one event together
	// (ReasonTooManyKeys).
	MaxKeys int
	// MaxKey bounds one key in bytes, as written between its quotes
	// (ReasonKeyTooLong).
	MaxKey int
	// MaxID bounds user, anonymous, previous, group, session and message ids
	// in bytes, after unescaping (ReasonIDTooLong).
	MaxID int
	// MaxName bounds the event's name in bytes, after unescaping
	// (ReasonNameTooLong).
	MaxName int
}

// minDepth is what the interpreted levels need: event, context, context.page
// and one level for what a client puts there.
const minDepth = 4

// DefaultLimits returns the limits that are documented for users.
//
// 32 KiB an event and 10,000 events a request are at or above what the Segment
// API takes (32 KB, 2,500 events), 4 MiB a request is what RudderStack takes,
// so that no existing client has to change. Depth and keys are chosen, not
// measured: several times what any example in schemas/event has.
func DefaultLimits() Limits {
	return Limits{
		MaxRequest: 4 << 20,
		MaxEvents:  10_000,
		MaxEvent:   32 << 10,
		MaxDepth:   32,
		MaxKeys:    1_000,
		MaxKey:     512,
		MaxID:      256,
		MaxName:    256,
	}
}

// Validate reports limits that cannot work.
func (l Limits) Validate() error {
	for _, f := range []struct {
		name string
		got  int
		min  int
	}{
		{"max request", l.MaxRequest, 1},
		{"max events", l.MaxEvents, 1},
		{"max event", l.MaxEvent, 2},
		{"max depth", l.MaxDepth, minDepth},
		{"max keys", l.MaxKeys, 1},
		{"max key", l.MaxKey, 1},
		{"max id", l.MaxID, 1},
		{"max name", l.MaxName, 1},
	} {
		if f.got < f.min {
			return fmt.Errorf("limits: %s is %d, at least %d is needed", f.name, f.got, f.min)
		}
	}
	if l.MaxEvent > l.MaxRequest {
		return fmt.Errorf("limits: max event (%d) is larger than max request (%d)", l.MaxEvent, l.MaxRequest)
	}
	return nil
}
