package dialect

import "github.com/millrace/millrace/libs/event"

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
