package dialect

import (
	"bytes"
	"strconv"
	"time"

	"github.com/millrace/millrace/libs/event"
)

// posthogFacts are the members of one event that mean something; nil where it
// has none.
type posthogFacts struct {
	name, distinctID, properties, timestamp, uuid, sentAt, offset []byte
	set, setOnce                                                  []byte
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
	dst := p.built.begin()
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

// call is the type that an event's name stands for.
func (p *posthogPass) call() (call string, name []byte) {
	f := &p.facts
	name, _ = event.Unquote(f.name)
	switch string(name) {
	case "$pageview":
		return "page", name
	case "$screen":
		return "screen", name
	case "$identify", "$set":
		return "identify", name
	case "$create_alias":
		return "alias", name
	case "$groupidentify":
		return "group", name
	case "":
		if isNone(f.name) && (p.engage || event.KindOf(f.set) == event.KindObject || event.KindOf(f.setOnce) == event.KindObject) {
			return "identify", nil
		}
	}
	return "track", name
}

// appendCall appends type, name and what belongs to the call alone.
func (p *posthogPass) appendCall(dst []byte) ([]byte, *event.Refusal) {
	f := &p.facts
	call, name := p.call()
	dst = append(event.AppendComma(dst), `"type":"`...)
	dst = append(append(dst, call...), '"')
	switch call {
	case "track":
		if f.name != nil {
			dst = event.AppendMember(dst, "event", f.name)
		}
	case "screen":
		if screen := f.props[propScreenName].value; event.KindOf(screen) == event.KindString {
			dst = event.AppendMember(dst, "name", screen)
		}
	case "alias":
		dst = appendPresent(dst, "previousId", f.props[propAlias].value)
	case "group":
		dst = appendPresent(dst, "groupId", f.props[propGroupKey].value)
		if set := &f.props[propGroupSet]; event.KindOf(set.value) == event.KindObject {
			dst = event.AppendMember(dst, "traits", set.value)
			set.cut = true
		}
	case "identify":
		if string(name) == "$set" {
			dst = event.AppendMember(dst, "posthog_event", f.name)
		}
		return p.appendTraits(dst)
	}
	return appendSets(dst, f.set, f.setOnce), nil
}

// appendSets keeps what an event says of its user beside its properties.
func appendSets(dst, set, setOnce []byte) []byte {
	if set != nil {
		dst = event.AppendMember(dst, "$set", set)
	}
	if setOnce != nil {
		dst = event.AppendMember(dst, "$set_once", setOnce)
	}
	return dst
}

// appendWhose appends the ids. A distinct_id is a user's, unless the event says
// that nobody has logged in, or it is the device's, or that of a group.
func (p *posthogPass) appendWhose(dst []byte) []byte {
	f := &p.facts
	distinct := f.distinctID
	if isNone(distinct) {
		distinct = f.props[propDistinctID].value
	}
	if isNone(distinct) {
		distinct = nil
	}
	device := f.props[propDeviceID].value
	id := textOf(distinct)
	anonymous := string(f.props[propIsIdentified].value) == "false" ||
		len(id) > 0 && bytes.Equal(id, textOf(device)) || p.isGroup(id)
	if anonymous {
		dst = appendPresent(dst, "anonymousId", distinct)
	} else {
		dst = appendPresent(dst, "userId", distinct)
	}
	if !anonymous || distinct == nil {
		for _, other := range [][]byte{f.props[propAnonDistinctID].value, device} {
			if text := textOf(other); len(text) > 0 && !bytes.Equal(text, id) {
				dst = event.AppendMember(dst, "anonymousId", other)
				break
			}
		}
	}
	return dst
}

// isGroup reports whether id is what SDKs make up for a group's event that
// belongs to no user.
func (p *posthogPass) isGroup(id []byte) bool {
	if name, _ := event.Unquote(p.facts.name); string(name) != "$groupidentify" || len(id) == 0 || id[0] != '$' {
		return false
	}
	group, key := textOf(p.facts.props[propGroupType].value), textOf(p.facts.props[propGroupKey].value)
	return len(id) == len(group)+len(key)+2 && bytes.HasPrefix(id[1:], group) &&
		id[1+len(group)] == '_' && bytes.HasSuffix(id, key)
}

// appendTimes appends when it happened. Old browsers' SDKs say only how long
// that was before they sent it.
func (p *posthogPass) appendTimes(dst []byte) []byte {
	f := &p.facts
	switch {
	case !p.isBatch && !p.bare: // it is the request's
	case p.historical: // there is no clock to correct with it
		dst = appendPresent(dst, "posthog_sent_at", f.sentAt)
	default:
		dst = appendPresent(dst, "sentAt", f.sentAt)
	}
	switch {
	case isNone(f.timestamp):
		ms, err := strconv.ParseFloat(string(f.offset), 64)
		if at := p.sentAt - int64(ms); err == nil && p.sentAt != 0 && ms >= 0 && ms < 1e12 && at >= event.MinTime {
			dst = append(event.AppendComma(dst), `"originalTimestamp":"`...)
			dst = time.UnixMilli(at).UTC().AppendFormat(dst, "2006-01-02T15:04:05.000Z")
			dst = append(dst, '"')
		}
	case p.historical:
		dst = event.AppendMember(dst, "timestamp", f.timestamp)
	default:
		dst = event.AppendMember(dst, "originalTimestamp", f.timestamp)
	}
	return dst
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
