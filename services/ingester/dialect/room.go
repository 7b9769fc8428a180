package dialect

import (
	"fmt"

	"github.com/millrace/millrace/libs/event"
)

// Growth bounds what the canonical events of one request may take together, in
// requests of the largest size: a batch could repeat a long context for each
// of ten thousand short events.
const Growth = 2

const (
	// firstChunk and nextChunk are bytes that are allocated at once: the first
	// holds a batch of a usual size whole.
	firstChunk = 1 << 20
	nextChunk  = 256 << 10
	// listed is about what one event takes in the lists of a mapper.
	listed = 128
)

// room is where the canonical events of one request are built, one after
// another. What was built stays where it is.
type room struct {
	limits event.Limits
	grant  func(bytes int) error
	buf    []byte
	held   int // bytes of buf that are granted
	start  int // of the event at hand
	built  int // all bytes so far, of refused events too: they cost as much
}

// open asks for the lists of count events, before they are made. added is how
// many bytes a batch adds to them at least: whoever adds too many is told
// before any is copied.
func (m *room) open(r *Request, limits event.Limits, count, added int) error {
	m.limits, m.grant = limits, r.Grant
	if added > Growth*limits.MaxRequest {
		return event.ErrTooLarge
	}
	return m.ask(count * listed)
}

func (m *room) ask(bytes int) error {
	if m.grant == nil || bytes == 0 {
		return nil
	}
	return m.grant(bytes)
}

// reserve makes room for size bytes at once, as far as that is not too many.
func (m *room) reserve(size int) error {
	if cap(m.buf) > 0 {
		return nil
	}
	return m.chunk(min(size, firstChunk))
}

func (m *room) chunk(size int) error {
	if err := m.ask(size); err != nil {
		return err
	}
	m.buf, m.held = make([]byte, 0, size), size
	return nil
}

// begin opens the next event's object, of about size bytes, and returns the
// buffer to append to. An error is one of the request.
func (m *room) begin(size int) ([]byte, error) {
	if cap(m.buf)-len(m.buf) < size {
		if err := m.chunk(max(size, nextChunk)); err != nil {
			return nil, err
		}
	}
	m.start = len(m.buf)
	return append(m.buf, '{'), nil
}

// end closes the object that buf ends with. An error is one of the request.
func (m *room) end(buf []byte) (canonical []byte, refusal *event.Refusal, err error) {
	m.buf = append(buf, '}')
	if now := cap(m.buf); now != m.held { // it was moved, and what was before it stays
		if err := m.ask(now); err != nil {
			return nil, nil, err
		}
		m.held = now
	}
	canonical = m.buf[m.start:len(m.buf):len(m.buf)]
	if m.built += len(canonical); m.built > Growth*m.limits.MaxRequest {
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
