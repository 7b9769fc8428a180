package dialect

import (
	"mime"
	"strings"

	"github.com/millrace/millrace/libs/event"
)

// cloudEvents maps CloudEvents 1.0 in the three modes of its HTTP binding:
// binary, where headers are the attributes and the body is the data; structured
// and batched, where the body is JSON that holds all of it. The NATS binding
// has the first two with the same names.
//
// An event is a track call of the name that is its type. Its messageId is made
// of source and id, since CloudEvents are unique by the pair only. Whose it is
// say the extension attributes userid and anonymousid, else data of these names
// in the usual spellings, else the subject. What remains of the attributes is
// kept as ce_<name>.
type cloudEvents struct {
	limits event.Limits
}

// NewCloudEvents returns the mapper of CloudEvents.
func NewCloudEvents(limits event.Limits) Mapper { return &cloudEvents{limits: limits} }

// Map implements [Mapper].
func (m *cloudEvents) Map(r *Request) (Mapped, error) {
	if len(r.Body) > m.limits.MaxRequest {
		return Mapped{}, event.ErrTooLarge
	}
	kind := mediaType(header(r, "content-type"))
	attributes := headerAttributes(r)
	p := &cloudPass{limits: m.limits, built: room{limits: m.limits, grant: r.Grant}}
	if len(attributes) > 0 && !strings.HasPrefix(kind, "application/cloudevents") {
		e, err := p.binary(r, kind, attributes)
		if err != nil {
			return Mapped{}, err
		}
		return Mapped{Events: []Event{e}}, nil
	}
	if r.Body == nil {
		return Mapped{}, nil
	}
	events, err := p.structured(r)
	return Mapped{Events: events}, err
}

// header is a header's first value. Names count whatever their case is: a
// mapper does not rely on a door to write them as HTTP does.
func header(r *Request, name string) string {
	if v := r.Header.Get(name); v != "" {
		return v
	}
	for key, values := range r.Header {
		if strings.EqualFold(key, name) && len(values) > 0 {
			return values[0]
		}
	}
	return ""
}

// mediaType is a Content-Type without its parameters.
func mediaType(contentType string) string {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		kind, _, _ = strings.Cut(contentType, ";")
	}
	return strings.ToLower(strings.TrimSpace(kind))
}

// cloudPass is the work on one request.
type cloudPass struct {
	limits        event.Limits
	built         room
	cursor, inner event.Cursor

	attributes []attribute
	data       []byte // JSON, nil when there is none
	base64     []byte // JSON: data_base64
}

// structured maps a body that is one event or an array of them, whatever its
// Content-Type says.
func (p *cloudPass) structured(r *Request) ([]Event, error) {
	c := &p.cursor
	c.Reset(r.Body)
	if c.Kind() == event.KindObject {
		raw := c.Value()
		if err := c.End(); err != nil {
			return nil, err
		}
		e, err := p.one(raw)
		return []Event{e}, err
	}
	if c.Kind() != event.KindArray {
		c.Value()
		c.Fail("an object or array is expected")
		return nil, c.End()
	}
	var all [][]byte
	for c.Enter(); c.Next(); {
		if len(all) == p.limits.MaxEvents {
			return nil, event.ErrTooManyEvents
		}
		all = append(all, c.Value())
	}
	if err := c.End(); err != nil {
		return nil, err
	}
	if err := p.built.open(r, p.limits, len(all), 0); err != nil {
		return nil, err
	}
	if err := p.built.reserve(len(r.Body) + 128*len(all)); err != nil {
		return nil, err
	}
	events := make([]Event, len(all))
	for i, raw := range all {
		var err error
		if events[i], err = p.one(raw); err != nil {
			return nil, err
		}
	}
	return events, nil
}

// one maps an event in structured form.
func (p *cloudPass) one(raw []byte) (Event, error) {
	e := Event{Original: raw}
	if e.Refusal = unfit(raw, p.limits); e.Refusal != nil {
		return e, nil
	}
	p.attributes, p.data, p.base64 = p.attributes[:0], nil, nil
	c := &p.inner
	c.Reset(raw)
	for c.Enter(); c.Next(); {
		to := &p.data
		switch string(c.Key()) {
		case "data":
		case "data_base64":
			to = &p.base64
		default:
			p.attributes = append(p.attributes, attribute{string(c.Key()), c.Value()})
			continue
		}
		if *to != nil {
			e.Refusal = duplicate(c.Start())
			return e, nil
		}
		*to = c.Value()
	}
	var err error
	e.Canonical, e.Refusal, err = p.build()
	return e, err
}
