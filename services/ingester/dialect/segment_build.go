package dialect

import "github.com/millrace/millrace/libs/event"

// events makes the canonical events of what was read.
func (p *segmentPass) events() ([]Event, error) {
	events := make([]Event, len(p.items))
	p.built.limits = p.limits
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
		p.built.reserve(len(p.body) - item.start + (len(p.items)-i)*(p.context.size+p.extra.size+32))
		var err error
		if e.Canonical, e.Refusal, err = p.build(item, e.Original, call); err != nil {
			return nil, err
		}
	}
	return events, nil
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
	dst := p.built.begin()
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
