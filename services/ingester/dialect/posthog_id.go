package dialect

import (
	"bytes"

	"github.com/millrace/millrace/libs/event"
)

// appendID appends the id of an event: what the SDK gave it, else one made of
// its own bytes and its place in the request. posthog-go gives none, and sends a
// request again, byte for byte, until it is answered; with random ids each
// attempt that was stored would count. Of other senders two requests with the
// same bytes may be two events, unless their time is too fine for that.
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
	if isNone(f.timestamp) || !isFine(f.timestamp) && !p.isPostHogGo() {
		return dst // the door gives it one
	}
	// Apart from what an Idempotency-Key gives: no source's name has a NUL.
	dst = append(event.AppendComma(dst), `"messageId":"`...)
	dst = event.AppendKeyedID(dst, "posthog\x00", string(original), index)
	return append(dst, '"')
}

// isPostHogGo reports whether the event says that posthog-go sent it.
func (p *posthogPass) isPostHogGo() bool {
	for _, raw := range [][]byte{p.facts.library, p.facts.props[propLib].value} {
		if name, _ := event.Unquote(raw); string(name) == "posthog-go" {
			return true
		}
	}
	return false
}

// isFine reports whether a time has microseconds at least: six digits, of which
// more than three count. Some clocks tell milliseconds and pad them.
func isFine(raw []byte) bool {
	text, _ := event.Unquote(raw)
	_, text, _ = bytes.Cut(text, []byte("."))
	digits := text[:len(text)-len(bytes.TrimLeft(text, "0123456789"))]
	return len(digits) >= 6 && len(bytes.TrimRight(digits, "0")) > 3
}
