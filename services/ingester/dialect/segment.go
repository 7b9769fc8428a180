package dialect

import (
	"strings"
	"sync"

	"github.com/millrace/millrace/libs/event"
)

// segment maps what SDKs of Segment and RudderStack send to /v1/track and the
// other calls, to /v1/batch and to the pixel's paths. Both are documented as
// Segment's HTTP Tracking API and RudderStack's HTTP API; what they send has
// the canonical words already, so that most events are taken as they are.
//
// A body is one event or a batch, whatever its path says: SDKs of either kind
// are configured with paths of their own. A batch says some things once for all
// its events: context and integrations, and fields that are none of the spec's.
type segment struct {
	limits event.Limits
	passes sync.Pool // of *segmentPass
}

// NewSegment returns the mapper of Segment's and RudderStack's SDKs.
func NewSegment(limits event.Limits) Mapper {
	return &segment{limits: limits, passes: sync.Pool{New: func() any { return new(segmentPass) }}}
}

// Map implements [Mapper].
func (s *segment) Map(r *Request) (Mapped, error) {
	body, key, err := pixelBody(r)
	if body == nil || err != nil {
		return Mapped{WriteKey: key}, err
	}
	if len(body) > s.limits.MaxRequest {
		return Mapped{}, event.ErrTooLarge
	}
	p := s.passes.Get().(*segmentPass)
	defer s.passes.Put(p)
	defer p.reset()
	p.limits, p.body, p.path = s.limits, body, callOfPath(r.Path)
	if err := p.read(); err != nil {
		return Mapped{}, err
	}
	m := Mapped{SentAt: p.sentAt}
	if m.Events, err = p.events(r); err != nil {
		return Mapped{}, err
	}
	m.WriteKey = string(p.writeKey)
	if m.WriteKey == "" {
		m.WriteKey = key
	}
	return m, nil
}

// callOfPath is the type that a path gives to events without one.
func callOfPath(path string) string {
	switch last := path[strings.LastIndexByte(path, '/')+1:]; last {
	case "t":
		return "track"
	case "i":
		return "identify"
	case "p":
		return "page"
	case "s":
		return "screen"
	case "g":
		return "group"
	case "a":
		return "alias"
	case "track", "identify", "page", "screen", "group", "alias", "merge":
		return last
	}
	return "" // batch, import
}

// typeState is what an event says about its type.
type typeState uint8

const (
	typeNone    typeState = iota // nothing, or null
	typeKnown                    // one of the spec's, or nothing that could be one
	typeUnknown                  // another word
	typeMerge                    // RudderStack's call that the spec does not have
)

// segmentItem is one event of the body and what decides whether it may stay as
// it is.
type segmentItem struct {
	start, end int
	call       typeState
	types      uint8 // how often the fields occur: twice is a fault that the scanner must see
	names      uint8
	keys       uint8
	contexts   uint8
}

// segmentPass is the work on one body.
type segmentPass struct {
	limits event.Limits
	body   []byte
	path   string

	cursor, inner, deep event.Cursor
	items               []segmentItem
	fields              []part // beside the batch
	isBatch             bool
	firstKey            []byte // the first write key of an event
	writeKey            []byte
	sentAt              int64
	extra, context      inherited
	built               room
}

func (p *segmentPass) reset() {
	clear(p.fields)
	p.extra.reset()
	p.context.reset()
	for _, c := range []*event.Cursor{&p.cursor, &p.inner, &p.deep} {
		c.Reset(nil)
	}
	*p = segmentPass{
		cursor: p.cursor, inner: p.inner, deep: p.deep, items: p.items[:0], fields: p.fields[:0],
		extra: p.extra, context: p.context,
	}
}

// read finds the events and what is said beside them.
func (p *segmentPass) read() error {
	c := &p.cursor
	c.Reset(p.body)
	if c.Kind() != event.KindObject {
		c.Value()
		c.Fail("an object is expected")
		return c.End()
	}
	whole := segmentItem{start: c.Offset()}
	batches := 0
	for c.Enter(); c.Next(); {
		if string(c.Key()) == "batch" {
			if batches++; batches > 1 {
				c.Fail("batch occurs twice")
				break
			}
			if c.Kind() == event.KindArray {
				p.isBatch = true
				if err := p.readBatch(); err != nil {
					return err
				}
				continue
			}
			if p.path == "" {
				c.Fail("batch is not an array")
				break
			}
		}
		p.note(&whole)
		p.fields = append(p.fields, partOf(c))
	}
	whole.end = c.Offset()
	if err := c.End(); err != nil {
		return err
	}
	if !p.isBatch {
		p.items = append(p.items, whole)
		p.writeKey = p.firstKey
		return nil
	}
	return p.readBeside()
}

// readBatch notes the elements of the batch.
func (p *segmentPass) readBatch() error {
	c := &p.cursor
	for c.Enter(); c.Next(); {
		if len(p.items) == p.limits.MaxEvents {
			return event.ErrTooManyEvents
		}
		item := segmentItem{start: c.Offset()}
		if c.Kind() == event.KindObject {
			for c.Enter(); c.Next(); {
				p.note(&item)
			}
		} else {
			c.Value()
		}
		item.end = c.Offset()
		p.items = append(p.items, item)
	}
	return nil
}

// note looks at one member of an event.
func (p *segmentPass) note(item *segmentItem) {
	c := &p.cursor
	switch string(c.Key()) {
	case "type":
		count(&item.types)
		item.call = typeOf(c)
	case "event", "event_type":
		count(&item.names)
	case "context":
		count(&item.contexts)
	case "writeKey", "write_key":
		count(&item.keys)
		if len(p.firstKey) == 0 {
			p.firstKey, _ = event.Unquote(c.Value())
		}
	}
}

// count counts up to two, which is as bad as more.
func count(n *uint8) { *n = min(*n+1, 2) }

// typeOf reads the value of type.
func typeOf(c *event.Cursor) typeState {
	switch c.Kind() {
	case event.KindNull:
		return typeNone
	case event.KindString:
	default:
		return typeKnown // for the scanner to refuse
	}
	text, _ := event.Unquote(c.Value())
	switch string(text) {
	case "track", "identify", "page", "screen", "group", "alias":
		return typeKnown
	case "merge":
		return typeMerge
	}
	return typeUnknown
}
