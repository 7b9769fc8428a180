package ingester

import (
	"fmt"

	"github.com/millrace/millrace/libs/event"
	"github.com/millrace/millrace/services/ingester/dialect"
)

// mappers read the bodies of the tongues that are not package event's own.
type mappers map[tongue]dialect.Mapper

// maxGrowth bounds how much larger events may become by mapping, in requests' limits: what a batch says once is repeated
// in each of its events.
const maxGrowth = 4

// mapped asks a dialect what a request says. spent is what the caller frees, also after an error.
func (d *door) mapped(m dialect.Mapper, q *dialect.Request) (out dialect.Mapped, spent int64, err error) {
	reserve := int64(len(q.Body)) // about what comes out
	if !d.budget.take(reserve) {
		return out, 0, errBusy
	}
	defer d.budget.free(reserve)
	if out, err = mapSafely(m, q); err != nil {
		return out, 0, err
	}
	if len(out.Events) > d.limits.MaxEvents {
		return out, 0, event.ErrTooManyEvents
	}
	for i := range out.Events {
		spent += int64(len(out.Events[i].Canonical))
	}
	if spent > maxGrowth*int64(d.limits.MaxRequest) {
		return out, 0, event.ErrTooLarge
	}
	d.budget.add(spent)
	return out, spent, nil
}

// mapSafely turns a fault of a mapper into one of the body: the same bytes would come again and again, over NATS to every
// ingester.
func mapSafely(m dialect.Mapper, q *dialect.Request) (out dialect.Mapped, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errMapping, p)
		}
	}()
	return m.Map(q)
}

// take makes rows of what a dialect made of a body.
func (in *intake) take(m dialect.Mapped) {
	if m.SentAt > 0 && m.SentAt <= maxSentAt {
		in.from.sentAt = m.SentAt
	}
	for i := range m.Events {
		in.takeMapped(i, &m.Events[i])
	}
}

// takeMapped makes a row of one event: of its canonical bytes if it is good, otherwise of the original ones.
func (in *intake) takeMapped(index int, e *dialect.Event) {
	refusal := e.Refusal
	if refusal == nil && len(e.Original) > in.limits.MaxEvent {
		refusal = &event.Refusal{Reason: event.ReasonTooLarge, Detail: fmt.Sprintf("%d bytes, the limit is %d", len(e.Original), in.limits.MaxEvent)}
	}
	if refusal != nil {
		in.refuse(index, e.Original, refusal)
		return
	}
	if refusal = in.scan(e.Canonical); refusal == nil {
		refusal = in.notAllowed(&in.event)
	}
	if refusal != nil {
		in.refuse(index, e.Original, refusal)
		return
	}
	_ = in.addEvent(index, e.Canonical, &in.event, nil) // has none
}

// scan reads a canonical event. It must be one and not a list of some, so the reader of bodies is not asked. A fault of
// the scanner costs the event and not its neighbours, as there.
func (in *intake) scan(canonical []byte) (refusal *event.Refusal) {
	defer func() {
		if p := recover(); p != nil {
			refusal = &event.Refusal{Reason: event.ReasonPanic, Detail: fmt.Sprint("it could not be read: ", p)}
		}
	}()
	if in.scanner == nil { // most doors never hear another tongue
		in.scanner = event.NewScanner(in.limits)
	}
	return in.scanner.Scan(canonical, &in.event)
}

// newMappers makes them.
func newMappers(limits event.Limits) mappers {
	return mappers{
		tongueSegment:     dialect.NewSegment(limits),
		tonguePostHog:     dialect.NewPostHog(limits),
		tongueCloudEvents: dialect.NewCloudEvents(limits),
	}
}
