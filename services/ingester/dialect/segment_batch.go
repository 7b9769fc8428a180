package dialect

import "github.com/millrace/millrace/libs/event"

// readBeside sorts what stands beside the batch.
func (p *segmentPass) readBeside() error {
	var seen [3]bool
	for i := range p.fields {
		f := &p.fields[i]
		which := -1
		switch string(f.key) {
		case "context":
			which = 0
			p.readContext(f.value)
		case "sentAt", "sent_at":
			which = 1
			if text, ok := event.Unquote(f.value); ok {
				p.sentAt, _ = event.ParseTime(text)
			}
		case "writeKey", "write_key":
			which = 2
			p.writeKey, _ = event.Unquote(f.value)
		default:
			if inheritable(f) {
				p.extra.add(*f)
			}
		}
		if which >= 0 {
			if seen[which] {
				return p.twice(f)
			}
			seen[which] = true
		}
	}
	if len(p.writeKey) == 0 {
		p.writeKey = p.firstKey
	}
	return nil
}

// inheritable says whether an event gets a field of the batch that it does not
// have itself. The batch's own id and time are not those of its events; and a
// large field that only the batch has would be repeated with each.
func inheritable(f *part) bool {
	switch kind := event.KindOf(f.value); {
	case kind == event.KindNull:
		return false
	case string(f.key) == "integrations":
		return true
	case event.IsField(f.key):
		return false
	default:
		return kind != event.KindObject && kind != event.KindArray
	}
}

// readContext takes the batch's context apart. One that is no object says
// nothing that could be given to an event.
func (p *segmentPass) readContext(raw []byte) {
	if event.KindOf(raw) != event.KindObject {
		return
	}
	c := &p.inner
	c.Reset(raw)
	for c.Enter(); c.Next(); {
		p.context.add(partOf(c))
	}
}

// twice is the fault of a field that the batch has twice.
func (p *segmentPass) twice(f *part) error {
	c := &p.cursor
	c.Reset(p.body)
	for c.Enter(); c.Next(); {
		if &p.body[c.Start()] == &f.member[0] {
			c.Fail("a field that occurred before")
		}
	}
	return c.End()
}
