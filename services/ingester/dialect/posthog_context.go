package dialect

import (
	"bytes"

	"github.com/millrace/millrace/libs/event"
)

// appendContext appends the properties for which the Segment Spec has a place
// in context.
func (p *posthogPass) appendContext(dst []byte) []byte {
	props := &p.facts.props
	call, _ := p.call()
	at := len(dst)
	dst = append(event.AppendComma(dst), `"context":{`...)
	empty := len(dst)

	page := len(dst)
	dst = append(event.AppendComma(dst), `"page":{`...)
	inside := len(dst)
	dst = appendText(dst, "url", props[propURL].value)
	dst = appendText(dst, "path", props[propPath].value)
	if referrer := props[propReferrer].value; string(referrer) != `"$direct"` { // posthog-js's word for none
		dst = appendText(dst, "referrer", referrer)
	}
	dst = appendSearch(dst, props[propURL].value)
	if call == "page" {
		dst = appendText(dst, "title", props[propTitle].value)
	}
	dst = closed(dst, page, inside)

	library := len(dst)
	dst = append(event.AppendComma(dst), `"library":{`...)
	inside = len(dst)
	dst = appendText(dst, "name", props[propLib].value)
	dst = appendText(dst, "version", props[propLibVersion].value)
	dst = closed(dst, library, inside)

	dst = appendText(dst, "ip", props[propIP].value)
	dst = appendText(dst, "userAgent", props[propUserAgent].value)

	start := len(dst)
	dst = append(event.AppendComma(dst), `"campaign":{`...)
	inside = len(dst)
	for i, name := range campaign {
		value := props[propUTM+i].value
		if isNone(value) {
			value = props[propUTMDollar+i].value
		}
		dst = appendText(dst, name, value)
	}
	dst = closed(dst, start, inside)
	return closed(dst, at, empty)
}

// closed closes the object that was opened at inside; an empty one is taken
// back to where it began.
func closed(dst []byte, start, inside int) []byte {
	if len(dst) == inside {
		return dst[:start]
	}
	return append(dst, '}')
}

// appendText appends a member that is a string with something in it: context
// only decorates.
func appendText(dst []byte, key string, raw []byte) []byte {
	if event.KindOf(raw) != event.KindString || isNone(raw) {
		return dst
	}
	return event.AppendMember(dst, key, raw)
}

// appendSearch appends the query of a URL.
func appendSearch(dst, url []byte) []byte {
	text, _ := event.Unquote(url)
	text, _, _ = bytes.Cut(text, []byte("#"))
	i := bytes.IndexByte(text, '?')
	if i < 0 || i+1 == len(text) {
		return dst
	}
	dst = append(event.AppendComma(dst), `"search":`...)
	return event.AppendString(dst, text[i:])
}
