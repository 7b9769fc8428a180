package dialect

import "github.com/millrace/millrace/libs/event"

// events makes the canonical events of what was read.
func (p *segmentPass) events(r *Request) ([]Event, error) {
	if err := p.built.open(r, p.limits, len(p.items), p.added()); err != nil {
		return nil, err
	}
	events := make([]Event, len(p.items))
	inherits := len(p.context.parts)+len(p.extra.parts) > 0
	tooMuch := tooMuch(p.limits, &p.context, &p.extra)
	for i := range p.items {
		item, e := &p.items[i], &events[i]
		e.Original = p.body[item.start:item.end:item.end]
		if e.Refusal = unfit(e.Original, p.limits); e.Refusal != nil {
			continue
		}
		call := p.callFor(item)
		if !inherits && call == "" && item.keys != 1 {
			e.Canonical = e.Original
			continue
		}
		if e.Refusal = tooMuch; e.Refusal != nil {
			continue
		}
		err := p.built.reserve(len(p.body) - item.start + (len(p.items)-i)*(p.context.size+p.extra.size+32))
		if err != nil {
			return nil, err
		}
		if e.Canonical, e.Refusal, err = p.build(item, e.Original, call); err != nil {
			return nil, err
		}
	}
	return events, nil
}

// added is how many bytes the batch adds to its events at least, 0 as long as
// it could not be too many. An event's own context may have all of the batch's.
func (p *segmentPass) added() (size int) {
	most := Growth * p.limits.MaxRequest
	if len(p.items)*(p.extra.size+p.context.size) <= most || tooMuch(p.limits, &p.context, &p.extra) != nil {
		return 0
	}
	for i := range p.items {
		item := &p.items[i]
		raw := p.body[item.start:item.end]
		if unfit(raw, p.limits) != nil {
			continue
		}
		size += p.extra.added(raw, &p.inner)
		if item.contexts == 0 {
			size += p.context.size
		}
		if size > most {
			break
		}
	}
	return size
}

// callFor is the type that the event is to get, "" if it keeps what it has.
// Its own counts if it is one of the spec's; without path and type the scanner
// takes it for a track call.
func (p *segmentPass) callFor(item *segmentItem) string {
	switch {
	case item.types > 1 || item.call == typeKnown:
		return ""
	case item.call == typeMerge:
		return "merge"
	}
	return p.path
}

// build writes one event anew.
func (p *segmentPass) build(item *segmentItem, original []byte, call string) ([]byte, *event.Refusal, error) {
	dst, err := p.built.begin(len(original) + p.context.size + p.extra.size + 64)
	if err != nil {
		return nil, nil, err
	}
	p.extra.begin()
	merged := false
	c := &p.inner
	c.Reset(original)
	for c.Enter(); c.Next(); {
		key := c.Key()
		p.extra.own(key)
		switch string(key) {
		case "writeKey", "write_key":
			if item.keys == 1 {
				continue
			}
		case "type":
			if call != "" {
				if item.call == typeUnknown {
					dst = event.AppendMember(dst, "originalType", c.Value())
				}
				continue
			}
		case "context":
			switch {
			case len(p.context.parts) == 0:
			case c.Kind() == event.KindObject:
				merged = true
				dst = append(event.AppendComma(dst), `"context":`...)
				dst = p.context.appendUnder(dst, c.Value(), &p.deep)
				continue
			case c.Kind() == event.KindNull && item.contexts == 1:
				continue // null is absent
			default:
				merged = true // for the scanner to refuse
			}
		}
		dst = append(event.AppendComma(dst), c.Member()...)
	}
	if len(p.context.parts) > 0 && !merged {
		p.context.begin()
		dst = append(event.AppendComma(dst), `"context":{`...)
		dst = append(p.context.appendRest(dst), '}')
	}
	dst = p.extra.appendRest(dst)
	if call == "merge" {
		// The spec has no such call: it is kept as an event of that name, with
		// mergeProperties as they are.
		call = "track"
		if item.names == 0 {
			dst = event.AppendMember(dst, "event", []byte(`"merge"`))
		}
	}
	if call != "" {
		dst = append(event.AppendComma(dst), `"type":"`...)
		dst = append(append(dst, call...), '"')
	}
	return p.built.end(dst)
}
