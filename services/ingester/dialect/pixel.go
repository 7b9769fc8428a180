package dialect

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"github.com/millrace/millrace/libs/event"
)

// keyNames are the parameters of a query in which the door looks for a write
// key: no event keeps one, whether it was the right key or not.
var keyNames = [...]string{"writeKey", "write_key", "api_key", "token"}

// pixelBody is the JSON that a request carries: its body, or what is in the
// query of a GET, as ?data= or as one parameter for each field. key is the
// write key of the query. A GET or HEAD that says nothing has no body and is no
// error: browsers and probes send such.
func pixelBody(r *Request) (body []byte, key string, err error) {
	if len(r.Body) > 0 {
		return r.Body, "", nil
	}
	for _, name := range keyNames {
		if key == "" {
			key = r.Query.Get(name)
		}
	}
	switch {
	case r.Query.Has("data"):
		body, err = unbase64(r.Query.Get("data"))
		return body, key, err
	case r.Body != nil:
		return nil, "", emptyBody()
	}
	return eventOfQuery(r), key, nil
}

func emptyBody() error { return &event.SyntaxError{Line: 1, Msg: "an empty body"} }

// eventOfQuery puts the parameters of a query together as an event; nil if
// there are none but write keys. The door takes one from _ too, if it finds none
// elsewhere; what else pages send of that name is a number, so that nobody
// caches the answer.
func eventOfQuery(r *Request) []byte {
	names := make([]string, 0, len(r.Query))
	for name := range r.Query {
		if slices.Contains(keyNames[:], name) || name == "_" && !isNumber(strings.Join(r.Query[name], "")) {
			continue
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names) // a map has no order, and the same request is the same event
	var c event.Cursor
	dst := []byte{'{'}
	for _, name := range names {
		for _, value := range r.Query[name] { // twice is for the scanner to refuse
			dst = event.AppendString(event.AppendComma(dst), name)
			dst = append(dst, ':')
			switch name {
			case "properties", "traits", "context", "integrations", "event_data", "mergeProperties":
				if c.Reset([]byte(value)); c.Kind() == event.KindObject || c.Kind() == event.KindArray {
					if raw := c.Value(); c.End() == nil {
						dst = append(dst, raw...)
						continue
					}
				}
			}
			dst = event.AppendString(dst, value)
		}
	}
	return append(dst, '}')
}

func isNumber(text string) bool { return strings.Trim(text, "0123456789") == "" }

var plainAlphabet = strings.NewReplacer("-", "+", "_", "/", " ", "+", "=", "")

// unbase64 decodes base64 of both alphabets, padded or not. A plus that nobody
// escaped has become a space on its way. JSON itself is returned as it is.
func unbase64(text string) ([]byte, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, emptyBody()
	}
	if text[0] == '{' || text[0] == '[' {
		return []byte(text), nil
	}
	data, err := base64.RawStdEncoding.DecodeString(plainAlphabet.Replace(text))
	if err != nil {
		fault := &event.SyntaxError{Line: 1, Msg: "data that is neither JSON nor base64"}
		if at, ok := errors.AsType[base64.CorruptInputError](err); ok {
			fault.Offset = int(at)
		}
		return nil, fault
	}
	if len(data) == 0 {
		return nil, emptyBody()
	}
	return data, nil
}
