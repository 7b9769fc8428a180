package ingester

import (
	"fmt"
	"maps"
	"runtime/debug"
	"slices"

	"github.com/millrace/millrace/libs/event"
	"github.com/millrace/millrace/services/ingester/dialect"
)

// mappers read the bodies of the tongues that are not package event's own.
type mappers map[tongue]dialect.Mapper

// mapped asks a dialect what a request says. What the events take beside the body may be far more than the body, since
// what a batch says once is repeated in each of them: it is taken from the budget before it is there, and a request that
// gets none comes again. So nobody waits for anybody's large batch, and requests without a key are bounded as all others.
// spent is what the caller frees, also after an error.
func (d *door) mapped(m dialect.Mapper, q *dialect.Request) (out dialect.Mapped, spent int64, err error) {
	granted := int64(0)
	defer func() { d.budget.free(granted) }()
	q.Grant = func(bytes int) error {
		if !d.budget.take(int64(bytes)) {
			return errBusy
		}
		granted += int64(bytes)
		return nil
	}
	if err = q.Grant(len(q.Body)); err != nil { // what reading it takes
		return out, 0, err
	}
	if out, err = d.mapSafely(m, q); err != nil {
		return out, 0, err
	}
	if len(out.Events) > d.limits.MaxEvents {
		return out, 0, event.ErrTooManyEvents
	}
	for i := range out.Events {
		spent += int64(len(out.Events[i].Canonical))
	}
	if spent > dialect.Growth*int64(d.limits.MaxRequest) {
		return out, 0, event.ErrTooLarge
	}
	d.budget.add(spent)
	return out, spent, nil
}

// mapSafely turns a fault of a mapper into one refused event of the whole body: the same bytes would come again and again,
// over NATS to every ingester. They become a dead letter, if it is known whose they are.
func (d *door) mapSafely(m dialect.Mapper, q *dialect.Request) (out dialect.Mapped, err error) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		d.log.Error("a mapper of a dialect panicked; the body becomes a dead letter", "path", q.Path, "bytes", len(q.Body),
			"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		original := q.Body
		if len(original) == 0 { // of a pixel
			fields := maps.Clone(q.Query)
			maps.DeleteFunc(fields, func(name string, _ []string) bool { return slices.Contains(queryKeys, name) || name == lastQueryKey })
			original = []byte(fields.Encode())
		}
		out, err = dialect.Mapped{WriteKey: keyIn(q.Body), Events: []dialect.Event{{
			Original: original, Refusal: &event.Refusal{Reason: event.ReasonPanic, Detail: fmt.Sprintf("%v: %v", errMapping, p)},
		}}}, nil
	}()
	return m.Map(q)
}

// keyIn finds a write key beside the events of a body that its mapper could not read, in any of the spellings of dialects.
func keyIn(body []byte) (key string) {
	defer func() { _ = recover() }() // the fault may be one of the cursor
	var c event.Cursor
	c.Reset(body)
	if c.Kind() != event.KindObject {
		return ""
	}
	for c.Enter(); c.Next(); {
		switch string(c.Key()) {
		case "writeKey", "write_key", "api_key", "token", "$token":
			if text, ok := event.Unquote(c.Value()); ok && key == "" {
				key = string(text)
			}
		}
	}
	return key
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
