package dialect

import "github.com/millrace/millrace/libs/event"

// appendID appends the id of an event: what the SDK gave it, else one made of
// its own bytes and its place in the request. posthog-go gives none, and sends a
// request again, byte for byte, until it is answered; with random ids each
// attempt that was stored would count. Only an event that says when it happened
// gets such an id: another one with the same bytes may be another event.
func (p *posthogPass) appendID(dst, original []byte, index int) []byte {
	f := &p.facts
	uuid := f.uuid
	if text, _ := event.Unquote(uuid); len(text) == 0 {
		uuid = f.props[propInsertID].value
		if !isNone(f.uuid) {
			dst = event.AppendMember(dst, "uuid", f.uuid)
		}
	}
	if text, _ := event.Unquote(uuid); len(text) > 0 {
		return event.AppendMember(dst, "messageId", uuid)
	}
	if isNone(f.timestamp) {
		return dst // the door gives it one
	}
	// Apart from what an Idempotency-Key gives: no source's name has a NUL.
	dst = append(event.AppendComma(dst), `"messageId":"`...)
	dst = event.AppendKeyedID(dst, "posthog\x00", string(original), index)
	return append(dst, '"')
}
