package dialect

import (
	"bytes"
	"net/url"
	"strconv"

	"github.com/millrace/millrace/libs/event"
)

// posthogBody is the JSON of a request, and the form that it came in. A GET
// that says nothing has none.
func posthogBody(r *Request) (body []byte, form url.Values, err error) {
	text := bytes.TrimSpace(r.Body)
	switch {
	case len(text) == 0 && r.Query.Has("data"):
		body, err = unbase64(r.Query.Get("data"))
	case r.Body == nil:
	case len(text) == 0:
		err = emptyBody()
	case text[0] == '{' || text[0] == '[' || bytes.HasPrefix(text, []byte("\xEF\xBB\xBF")):
		body = r.Body // it may hold anything, what a form begins with too
	case bytes.HasPrefix(text, []byte("data=")), bytes.Contains(text[:min(len(text), 64)], []byte("&data=")):
		if form, err = url.ParseQuery(string(text)); err != nil {
			return nil, nil, &event.SyntaxError{Line: 1, Msg: "a form that cannot be read"}
		}
		body, err = unbase64(form.Get("data"))
	default:
		body, err = unbase64(string(text))
	}
	return body, form, err
}

// readValues takes from a form or query what the body did not say. Browsers
// name the time of sending sent_at or, long ago, _; in milliseconds.
func (p *posthogPass) readValues(values url.Values) {
	for _, name := range []string{"api_key", "token"} {
		if len(p.key) == 0 {
			p.key = []byte(values.Get(name))
		}
	}
	for _, name := range []string{"sent_at", "_"} {
		if p.sentAt != 0 {
			return
		}
		text := values.Get(name)
		if ms, err := strconv.ParseInt(text, 10, 64); err == nil && ms >= event.MinTime && ms <= event.MaxTime {
			p.sentAt = ms
		} else if ms, ok := event.ParseTime([]byte(text)); ok {
			p.sentAt = ms
		}
	}
}
