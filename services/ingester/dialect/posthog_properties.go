package dialect

import (
	"bytes"
	"fmt"

	"github.com/millrace/millrace/libs/event"
)

// The properties that mean something.
const (
	propToken = iota
	propDistinctID
	propDeviceID
	propAnonDistinctID
	propIsIdentified
	propInsertID
	propAlias
	propGroupType
	propGroupKey
	propGroupSet
	propSet
	propSetOnce
	propScreenName
	propURL
	propPath
	propReferrer
	propTitle
	propLib
	propLibVersion
	propIP
	propUserAgent
	propUTM       // five spellings each of its own, in the order of campaign
	propUTMDollar = propUTM + 5
	propCount     = propUTMDollar + 5
)

// campaign are the columns that utm_source and the others go to.
var campaign = [5]string{"source", "medium", "name", "term", "content"}

// prop is one property that means something.
type prop struct {
	value      []byte
	start, end int  // the member, in the properties
	cut        bool // it is elsewhere, whole
}

func propOf(key []byte) int {
	switch string(key) {
	case "token":
		return propToken
	case "distinct_id":
		return propDistinctID
	case "$device_id":
		return propDeviceID
	case "$anon_distinct_id":
		return propAnonDistinctID
	case "$is_identified":
		return propIsIdentified
	case "$insert_id":
		return propInsertID
	case "alias":
		return propAlias
	case "$group_type":
		return propGroupType
	case "$group_key":
		return propGroupKey
	case "$group_set":
		return propGroupSet
	case "$set":
		return propSet
	case "$set_once":
		return propSetOnce
	case "$screen_name":
		return propScreenName
	case "$current_url":
		return propURL
	case "$pathname":
		return propPath
	case "$referrer":
		return propReferrer
	case "title":
		return propTitle
	case "$lib":
		return propLib
	case "$lib_version":
		return propLibVersion
	case "$ip":
		return propIP
	case "$raw_user_agent":
		return propUserAgent
	}
	if rest, ok := bytes.CutPrefix(key, []byte("utm_")); ok {
		return campaignOf(rest, propUTM)
	}
	if rest, ok := bytes.CutPrefix(key, []byte("$utm_")); ok {
		return campaignOf(rest, propUTMDollar)
	}
	return -1
}

func campaignOf(name []byte, base int) int {
	switch string(name) {
	case "source":
		return base
	case "medium":
		return base + 1
	case "campaign":
		return base + 2
	case "term":
		return base + 3
	case "content":
		return base + 4
	}
	return -1
}

// readProperties finds the properties that mean something.
func (p *posthogPass) readProperties() *event.Refusal {
	f := &p.facts
	if event.KindOf(f.properties) != event.KindObject {
		return nil
	}
	c := &p.inner
	c.Reset(f.properties)
	for c.Enter(); c.Next(); {
		i := propOf(c.Key())
		if i < 0 {
			continue
		}
		if f.props[i].value != nil {
			return &event.Refusal{Reason: event.ReasonDuplicateKey, Detail: fmt.Sprintf("a key that occurred before at byte %d of the properties", c.Start())}
		}
		start := c.Start()
		f.props[i] = prop{value: c.Value(), start: start, end: c.Offset()}
	}
	return nil
}

// appendProperties appends the properties as they are, but for those that are
// elsewhere whole, and for the key of the project.
func (p *posthogPass) appendProperties(dst []byte) []byte {
	f := &p.facts
	if event.KindOf(f.properties) == event.KindNull {
		return dst
	}
	if token, _ := event.Unquote(f.props[propToken].value); len(token) > 0 && bytes.Equal(token, p.key) {
		f.props[propToken].cut = true
	}
	dst = append(event.AppendComma(dst), `"properties":`...)
	rest, at := f.properties, 0
	for next := f.nextCut(at); next != nil; next = f.nextCut(at) {
		dst = append(dst, rest[at:next.start]...)
		at = next.end
		// The comma that follows goes with it; behind the last there is none.
		if i := at + len(rest[at:]) - len(bytes.TrimLeft(rest[at:], " \t\r\n")); rest[i] == ',' {
			at = i + 1
		} else {
			dst = bytes.TrimSuffix(bytes.TrimRight(dst, " \t\r\n"), []byte(","))
		}
	}
	return append(dst, rest[at:]...)
}

// nextCut is the first property from a byte on that is to be left out.
func (f *posthogFacts) nextCut(at int) (next *prop) {
	for _, i := range [...]int{propToken, propGroupSet, propSet, propSetOnce} {
		if q := &f.props[i]; q.cut && q.start >= at && (next == nil || q.start < next.start) {
			next = q
		}
	}
	return next
}
