package dialect

import "github.com/millrace/millrace/libs/event"

// posthogFacts are the members of one event that mean something; nil where it
// has none.
type posthogFacts struct {
	name, distinctID, properties, timestamp, uuid, sentAt, offset []byte
	set, setOnce, library                                         []byte
	props                                                         [propCount]prop
}

// field is where a top-level member of an event belongs, nil if nowhere.
func (f *posthogFacts) field(key []byte) *[]byte {
	switch string(key) {
	case "event":
		return &f.name
	case "distinct_id", "$distinct_id":
		return &f.distinctID
	case "properties":
		return &f.properties
	case "timestamp":
		return &f.timestamp
	case "uuid":
		return &f.uuid
	case "sent_at":
		return &f.sentAt
	case "$set":
		return &f.set
	case "$set_once":
		return &f.setOnce
	}
	return nil
}

// build writes one event in the words of package event. The properties stay as
// they are, those that are understood too; so do all other members, under names
// that mean nothing of their own. The session needs no field: the scanner finds
// it in the property $session_id.
func (p *posthogPass) build(original []byte, index int) ([]byte, *event.Refusal, error) {
	p.facts = posthogFacts{}
	f := &p.facts
	dst, err := p.built.begin(len(original)*3/2 + p.extra.size + 128)
	if err != nil {
		return nil, nil, err
	}
	p.extra.begin()
	var own []byte // the event's own key
	keys := 0      // a bit for each name of it
	c := &p.inner
	c.Reset(original)
	for c.Enter(); c.Next(); {
		key := c.Key()
		if to := f.field(key); to != nil {
			if *to != nil {
				return nil, duplicate(c.Start()), nil
			}
			*to = c.Value()
			continue
		}
		p.extra.own(key)
		switch string(key) {
		case "api_key", "token", "$token":
			if bit := 1 << (len(key) & 7); keys&bit != 0 { // lengths 7, 5 and 6
				return nil, duplicate(c.Start()), nil
			} else if keys |= bit; len(own) == 0 {
				own, _ = event.Unquote(c.Value())
			}
			continue
		case "historical_migration":
			if !p.isBatch && !p.bare {
				continue
			}
		case "offset":
			f.offset = c.Value()
		case "library":
			f.library = c.Value()
		}
		if event.IsField(key) {
			// posthog-go's type is "capture": kept, but it is not the event's.
			dst = append(event.AppendComma(dst), `"posthog_`...)
			dst = append(append(dst, c.RawKey()...), `":`...)
			dst = append(dst, c.Value()...)
			continue
		}
		dst = append(event.AppendComma(dst), c.Member()...)
	}
	if refusal := p.readProperties(); refusal != nil {
		return nil, refusal, nil
	}
	if len(p.key) == 0 {
		if p.key = own; len(own) == 0 {
			p.key, _ = event.Unquote(f.props[propToken].value)
		}
	}
	dst = p.extra.appendRest(dst)
	dst, refusal := p.appendCall(dst)
	if refusal != nil {
		return nil, refusal, nil
	}
	dst = p.appendID(p.appendWhose(dst), original, index)
	dst = p.appendTimes(dst)
	dst = p.appendContext(dst)
	return p.built.end(p.appendProperties(dst))
}

// isNone says whether a value is absent, in any of the ways in which SDKs leave
// one out.
func isNone(raw []byte) bool {
	return event.KindOf(raw) == event.KindNull || string(raw) == `""`
}

// appendPresent appends a member that is there.
func appendPresent(dst []byte, key string, raw []byte) []byte {
	if isNone(raw) {
		return dst
	}
	return event.AppendMember(dst, key, raw)
}

// textOf is the text of an id, which may be a number; nil if it is none.
func textOf(raw []byte) []byte {
	if event.KindOf(raw) == event.KindNumber {
		return raw
	}
	text, _ := event.Unquote(raw)
	return text
}
