package dialect

import (
	"bytes"

	"github.com/millrace/millrace/libs/event"
)

// cloudFacts are the attributes that mean something.
type cloudFacts struct {
	specversion, id, source, name, time, subject, user, anonymous *attribute
}

// build writes the event at hand in the words of package event.
func (p *cloudPass) build() (canonical []byte, refusal *event.Refusal, err error) {
	f, refusal := p.facts()
	if refusal != nil {
		return nil, refusal, nil
	}
	size := 128 + len(p.data) + len(p.base64)
	for i := range p.attributes {
		size += len(p.attributes[i].name) + len(p.attributes[i].value) + len(`"ce_":,`)
	}
	dst, err := p.built.begin(size)
	if err != nil {
		return nil, nil, err
	}
	dst = append(dst, `"type":"track"`...)
	if f.name != nil {
		dst = event.AppendMember(dst, "event", f.name.value)
	}
	dst = append(dst, `,"messageId":`...)
	dst = event.AppendString(dst, p.messageID(f))
	if f.time != nil {
		dst = appendPresent(dst, "timestamp", f.time.value)
	}
	dst = p.appendWhose(dst, f)
	for i := range p.attributes {
		switch a := &p.attributes[i]; a {
		case f.name, f.time, f.user, f.anonymous:
		default:
			dst = event.AppendMember(dst, "ce_"+a.name, a.value)
		}
	}
	switch {
	case event.KindOf(p.data) == event.KindObject:
		dst = event.AppendMember(dst, "properties", p.data)
		if p.base64 != nil {
			dst = event.AppendMember(dst, "ce_data_base64", p.base64)
		}
	case p.data != nil || p.base64 != nil:
		dst = append(dst, `,"properties":{`...)
		if p.data != nil {
			dst = event.AppendMember(dst, "data", p.data)
		}
		if p.base64 != nil {
			dst = event.AppendMember(dst, "data_base64", p.base64)
		}
		dst = append(dst, '}')
	}
	return p.built.end(dst)
}

// facts finds the attributes that mean something and checks what a CloudEvent
// must have. A missing type is the scanner's to refuse.
func (p *cloudPass) facts() (f cloudFacts, refusal *event.Refusal) {
	for i := range p.attributes {
		a := &p.attributes[i]
		var to **attribute
		switch a.name {
		case "specversion":
			to = &f.specversion
		case "id":
			to = &f.id
		case "source":
			to = &f.source
		case "type":
			to = &f.name
		case "time":
			to = &f.time
		case "subject":
			to = &f.subject
		case "userid", "userId", "user_id":
			to = &f.user
		case "anonymousid", "anonymousId", "anonymous_id":
			to = &f.anonymous
		case "data", "data_base64": // of a header: the specification keeps the names
			return f, &event.Refusal{Reason: event.ReasonBadField, Detail: "data is no attribute"}
		default:
			continue
		}
		if *to != nil {
			return f, &event.Refusal{Reason: event.ReasonDuplicateKey, Detail: "the attribute " + a.name + " in both its spellings, or twice"}
		}
		*to = a
	}
	switch {
	case f.specversion == nil:
		return f, &event.Refusal{Reason: event.ReasonBadField, Detail: "no CloudEvent: specversion is missing"}
	case !isVersion1(f.specversion.value):
		return f, &event.Refusal{Reason: event.ReasonBadField, Detail: "specversion is not 1.x"}
	case len(f.source.text()) == 0 || len(f.id.text()) == 0:
		return f, &event.Refusal{Reason: event.ReasonBadField, Detail: "a CloudEvent needs source and id, as strings"}
	}
	return f, nil
}

// isVersion1 says whether a specversion is "1." and digits.
func isVersion1(raw []byte) bool {
	text, _ := event.Unquote(raw)
	minor, ok := bytes.CutPrefix(text, []byte("1."))
	return ok && len(minor) > 0 && len(bytes.Trim(minor, "0123456789")) == 0
}

// text is the attribute's string, nil if it has none.
func (a *attribute) text() []byte {
	if a == nil {
		return nil
	}
	text, _ := event.Unquote(a.value)
	return text
}

// messageID joins source and id with a space, which no URI holds; where one
// does, or the pair is longer than an id may be, it is a hash of both.
func (p *cloudPass) messageID(f cloudFacts) []byte {
	source, id := f.source.text(), f.id.text()
	if bytes.IndexByte(source, ' ') >= 0 || len(source)+1+len(id) > p.limits.MaxID {
		// Apart from what an Idempotency-Key gives: no source's name has a NUL.
		return event.AppendKeyedID(nil, "cloudevents\x00"+string(source), string(id), 0)
	}
	joined := make([]byte, 0, len(source)+1+len(id))
	joined = append(append(joined, source...), ' ')
	return append(joined, id...)
}

// appendWhose appends the ids of the first of the three places that has any.
func (p *cloudPass) appendWhose(dst []byte, f cloudFacts) []byte {
	before := len(dst)
	if f.user != nil {
		dst = appendPresent(dst, "userId", f.user.value)
	}
	if f.anonymous != nil {
		dst = appendPresent(dst, "anonymousId", f.anonymous.value)
	}
	if len(dst) > before {
		return dst
	}
	user, anonymous := p.whoseData()
	dst = appendPresent(dst, "userId", user)
	dst = appendPresent(dst, "anonymousId", anonymous)
	if len(dst) == before && f.subject != nil {
		dst = appendPresent(dst, "userId", f.subject.value)
	}
	return dst
}

// whoseData looks for ids in the data, the first of each.
func (p *cloudPass) whoseData() (user, anonymous []byte) {
	if event.KindOf(p.data) != event.KindObject {
		return nil, nil
	}
	c := &p.inner
	c.Reset(p.data)
	for c.Enter(); c.Next(); {
		to := &user
		switch string(c.Key()) {
		case "userId", "user_id":
		case "anonymousId", "anonymous_id":
			to = &anonymous
		default:
			continue
		}
		if v := c.Value(); *to == nil && len(textOf(v)) > 0 {
			*to = v
		}
	}
	return user, anonymous
}
