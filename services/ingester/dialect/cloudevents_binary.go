package dialect

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/millrace/millrace/libs/event"
)

// attribute is one context attribute.
type attribute struct {
	name  string // in lower case, as far as it came in headers
	value []byte // JSON
}

// headerAttributes are the attributes of the binary mode, by name.
func headerAttributes(r *Request) (found []attribute) {
	for key, values := range r.Header {
		if len(key) <= 3 || !strings.EqualFold(key[:3], "ce-") {
			continue
		}
		for _, v := range values {
			found = append(found, attribute{strings.ToLower(key[3:]), event.AppendString(nil, headerText(v))})
		}
	}
	// A map has no order, and the same request is the same event.
	slices.SortFunc(found, func(a, b attribute) int {
		if n := strings.Compare(a.name, b.name); n != 0 {
			return n
		}
		return bytes.Compare(a.value, b.value)
	})
	return found
}

// headerText undoes what the HTTP binding (1.0.2, section 3.1.3.2) does to a
// value: quotes around it, and percent encoding. What is no percent encoding
// stays as it is. The SDK for JavaScript does not encode, and fetch sends what
// fits as ISO 8859-1.
func headerText(v string) []byte {
	if !utf8.ValidString(v) {
		latin := make([]rune, len(v))
		for i := range len(v) {
			latin[i] = rune(v[i])
		}
		v = string(latin)
	}
	text := make([]byte, 0, len(v))
	if len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' {
		quoted := v[1 : len(v)-1]
		for i := 0; i < len(quoted); i++ {
			if quoted[i] == '\\' && i+1 < len(quoted) {
				i++
			}
			text = append(text, quoted[i])
		}
		v = string(text)
		text = text[:0]
	}
	for i := 0; i < len(v); i++ {
		if v[i] == '%' && i+2 < len(v) {
			high, ok1 := hexDigit(v[i+1])
			low, ok2 := hexDigit(v[i+2])
			if ok1 && ok2 {
				text = append(text, high<<4|low)
				i += 2
				continue
			}
		}
		text = append(text, v[i])
	}
	return text
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}

// binary maps the one event of a binary request. A dead letter keeps it as
// structured JSON: without its headers the body would not be the event.
func (p *cloudPass) binary(r *Request, kind string, attributes []attribute) (Event, error) {
	p.attributes = attributes
	if kind != "" && !slices.ContainsFunc(attributes, func(a attribute) bool { return a.name == "datacontenttype" }) {
		p.attributes = append(p.attributes, attribute{"datacontenttype", event.AppendString(nil, header(r, "content-type"))})
	} else if kind == "" {
		for _, a := range attributes {
			if a.name == "datacontenttype" { // of NATS
				text, _ := event.Unquote(a.value)
				kind = mediaType(string(text))
			}
		}
	}
	var original []byte
	refusal := oversized(r.Body, p.limits)
	if refusal != nil {
		// With a third more for base64, and its attributes, it has to fit where a request did.
		most := len(`{"data_base64":""}`) + len(r.Body) + len(r.Body)/3 + 4
		for _, a := range p.attributes {
			most += len(a.name) + len(a.value) + len(`"":,`)
		}
		if most > p.limits.MaxRequest {
			return Event{Original: r.Body, Refusal: refusal}, nil
		}
		if err := p.built.ask(2 * most); err != nil {
			return Event{}, err
		}
		original = make([]byte, 0, most)
		p.readLarge(r.Body, kind)
	} else {
		refusal = p.readData(r.Body, kind)
	}
	original = append(original, '{')
	for _, a := range p.attributes {
		original = event.AppendMember(original, a.name, a.value)
	}
	if p.data != nil {
		original = event.AppendMember(original, "data", p.data)
	}
	if p.base64 != nil {
		original = event.AppendMember(original, "data_base64", p.base64)
	}
	e := Event{Original: append(original, '}'), Refusal: refusal}
	if refusal != nil {
		return e, nil
	}
	var err error
	e.Canonical, e.Refusal, err = p.build()
	return e, err
}

// readLarge takes the data of an event that is refused for its size: as it is if
// it is JSON, otherwise as bytes, which grow by a third; as text they could grow
// by far more.
func (p *cloudPass) readLarge(body []byte, kind string) {
	if isJSON(kind) || kind == "" {
		p.cursor.Reset(body)
		raw := p.cursor.Value()
		if p.cursor.End() == nil {
			p.data = raw
			return
		}
	}
	p.base64 = quoted64(body)
}

func isJSON(kind string) bool {
	return kind == "application/json" || kind == "text/json" || strings.HasSuffix(kind, "+json")
}

// readData takes a binary event's data by its type: JSON, text, or bytes.
func (p *cloudPass) readData(body []byte, kind string) *event.Refusal {
	if len(body) == 0 {
		return nil
	}
	isJSON := isJSON(kind)
	isText := strings.HasPrefix(kind, "text/") || strings.HasSuffix(kind, "+xml") || kind == "application/xml"
	if isJSON || kind == "" {
		p.cursor.Reset(body)
		raw := p.cursor.Value()
		err := p.cursor.End()
		if err == nil {
			p.data = raw
			return nil
		}
		if isJSON {
			p.base64 = quoted64(body)
			return &event.Refusal{Reason: event.ReasonMalformed, Detail: "data is not the JSON that its type says: " + err.Error()}
		}
	}
	if (isText || kind == "") && utf8.Valid(body) {
		p.data = event.AppendString(nil, body)
		return nil
	}
	p.base64 = quoted64(body)
	return nil
}

func quoted64(data []byte) []byte {
	text := make([]byte, 0, base64.StdEncoding.EncodedLen(len(data))+2)
	text = base64.StdEncoding.AppendEncode(append(text, '"'), data)
	return append(text, '"')
}
