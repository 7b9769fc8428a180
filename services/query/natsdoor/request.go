package natsdoor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/nats-io/nats.go"
)

// HeaderParameters holds the parameters of the URL where the message is the body.
const HeaderParameters = "Millrace-Parameters"

// passed are the headers of a message that the request gets.
var passed = []string{"Authorization", "X-Write-Key", "Content-Type", "Traceparent", "X-Request-Id"}

var hole = regexp.MustCompile(`\{([a-z_]+)\}`)

// request is what would have come over HTTP. Its error is for the asker.
func (e Endpoint) request(ctx context.Context, m *nats.Msg) (*http.Request, error) {
	values, err := e.parameters(m)
	if err != nil {
		return nil, err
	}
	var missing string
	path := hole.ReplaceAllStringFunc(e.Path, func(h string) string {
		name := strings.Trim(h, "{}")
		value := values.Get(name)
		if e.Rest { // a parameter may have the same name
			value = m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
		} else {
			values.Del(name)
		}
		if value == "" {
			missing = name
		}
		return url.PathEscape(value)
	})
	if missing != "" {
		return nil, fmt.Errorf("%s is missing: send {%q: ...}", missing, missing)
	}
	if strings.Contains(path, "/./") || strings.Contains(path, "/../") || strings.HasSuffix(path, "/.") || strings.HasSuffix(path, "/..") {
		return nil, fmt.Errorf("a name may not be . or .. here")
	}
	var body io.Reader = http.NoBody
	if e.Body {
		body = bytes.NewReader(m.Data)
	}
	r, err := http.NewRequestWithContext(ctx, e.Method, path, body)
	if err != nil {
		return nil, fmt.Errorf("the request cannot be understood: %w", err)
	}
	r.URL.RawQuery = values.Encode()
	// What the HTTP port asks of its callers that have no key, a NATS connection has shown by being let in.
	r.Host, r.RemoteAddr, r.RequestURI = "localhost", "nats", r.URL.RequestURI()
	for name, v := range m.Header { // NATS keeps the case that the client wrote
		for _, p := range passed {
			if strings.EqualFold(name, p) {
				r.Header[p] = v
			}
		}
	}
	return r, nil
}

// parameters are those of the URL.
func (e Endpoint) parameters(m *nats.Msg) (url.Values, error) {
	if e.Body {
		var given []string
		for name, v := range m.Header { // NATS keeps the case that the client wrote
			if strings.EqualFold(name, HeaderParameters) {
				given = append(given, v...)
			}
		}
		if len(given) > 1 {
			return nil, fmt.Errorf("the header %s is there %d times", HeaderParameters, len(given))
		}
		values, err := url.ParseQuery(strings.Join(given, ""))
		if err != nil {
			return nil, fmt.Errorf("the header %s cannot be read, it is written as in a URL: %w", HeaderParameters, err)
		}
		return values, nil
	}
	values := url.Values{}
	if len(bytes.TrimSpace(m.Data)) == 0 {
		return values, nil
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(m.Data, &object); err != nil {
		return nil, fmt.Errorf("the message is neither empty nor a JSON object of parameters: %w", err)
	}
	for name, raw := range object {
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) != nil {
			list = []json.RawMessage{raw}
		}
		for _, one := range list {
			text, err := scalar(one)
			if err != nil {
				return nil, fmt.Errorf("parameter %s: %w", name, err)
			}
			values.Add(name, text)
		}
	}
	return values, nil
}

// scalar is a value as the URL would have it.
func scalar(raw json.RawMessage) (string, error) {
	var text string
	switch raw = bytes.TrimSpace(raw); {
	case len(raw) > 0 && raw[0] == '"':
		if err := json.Unmarshal(raw, &text); err != nil {
			return "", fmt.Errorf("want text, a number, true or false: %w", err)
		}
		return text, nil
	case len(raw) == 0 || raw[0] == '{' || raw[0] == '[' || string(raw) == "null":
		return "", fmt.Errorf("want text, a number, true or false, or a list of them, not %.40s", raw)
	}
	return string(raw), nil
}
