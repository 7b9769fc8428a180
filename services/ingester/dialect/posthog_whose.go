package dialect

import (
	"bytes"

	"github.com/millrace/millrace/libs/event"
)

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
