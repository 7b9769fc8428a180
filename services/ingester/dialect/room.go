package dialect

import (
	"fmt"

	"github.com/millrace/millrace/libs/event"
)

// growth bounds what the canonical events of one request may take together, in
// requests of the largest size: a batch could repeat a long context for each
// of ten thousand short events.
const growth = 2

// room is where the canonical events of one request are built, one after
// another. What was built stays where it is.
type room struct {
	limits event.Limits
	buf    []byte
	start  int // of the event at hand
	built  int // all bytes so far, of refused events too: they cost as much
}

// reserve makes room for size bytes at once.
func (m *room) reserve(size int) {
	if cap(m.buf) == 0 {
		m.buf = make([]byte, 0, min(size, growth*m.limits.MaxRequest))
	}
}

// begin opens the next event's object and returns the buffer to append to.
func (m *room) begin() []byte {
	m.start = len(m.buf)
	return append(m.buf, '{')
}

// end closes the object that buf ends with. An error is one of the request.
func (m *room) end(buf []byte) (canonical []byte, refusal *event.Refusal, err error) {
	m.buf = append(buf, '}')
	canonical = m.buf[m.start:len(m.buf):len(m.buf)]
	if m.built += len(canonical); m.built > growth*m.limits.MaxRequest {
		return nil, nil, event.ErrTooLarge
	}
	if len(canonical) > m.limits.MaxEvent {
		m.buf = m.buf[:m.start]
		return nil, &event.Refusal{
			Reason: event.ReasonTooLarge,
			Detail: fmt.Sprintf("%d bytes with all that belongs to it, the limit is %d", len(canonical), m.limits.MaxEvent),
		}, nil
	}
	return canonical, nil, nil
}

// oversized refuses an event that is too large before any work is done on it.
func oversized(raw []byte, limits event.Limits) *event.Refusal {
	if len(raw) <= limits.MaxEvent {
		return nil
	}
	return &event.Refusal{
		Reason: event.ReasonTooLarge,
		Detail: fmt.Sprintf("%d bytes, the limit is %d", len(raw), limits.MaxEvent),
	}
}

// unfit refuses what is no event whatever is in it.
func unfit(raw []byte, limits event.Limits) *event.Refusal {
	if event.KindOf(raw) != event.KindObject {
		return &event.Refusal{Reason: event.ReasonNotAnObject}
	}
	return oversized(raw, limits)
}

func duplicate(offset int) *event.Refusal {
	return &event.Refusal{Reason: event.ReasonDuplicateKey, Detail: fmt.Sprintf("a field that occurred before at byte %d", offset)}
}
