package recovery

import (
	"strings"

	"github.com/millrace/millrace/libs/event"
)

// eachEvent reads the events of a message of IN as the ingester does. What it
// refuses gets an id that no row has.
func eachEvent(reader *event.Reader, unzip *event.Decompressor, m message, take func(index int, e *event.Event)) {
	get := func(name string) string {
		for k, v := range m.header {
			if strings.EqualFold(k, name) && len(v) > 0 {
				return v[0]
			}
		}
		return ""
	}
	body := m.data
	encoding := strings.ToLower(strings.TrimSpace(get("Content-Encoding")))
	switch {
	case encoding == "identity":
		encoding = ""
	case encoding == "" && strings.HasPrefix(string(body), "\x1f\x8b"):
		encoding = "gzip"
	case encoding == "" && strings.HasPrefix(string(body), "\x28\xb5\x2f\xfd"):
		encoding = "zstd"
	}
	if encoding != "" {
		var err error
		if body, err = unzip.Append(nil, encoding, strings.NewReader(string(body))); err != nil {
			return
		}
	}
	_, _ = reader.Read(body, isNDJSON(get("Content-Type")), func(index int, _ []byte, e *event.Event, refusal *event.Refusal) error {
		if refusal == nil {
			take(index, e)
		}
		return nil
	}) // a body that cannot be read has no events with rows
}

// isNDJSON says whether a Content-Type promises one event a line, as the
// ingester knows them.
func isNDJSON(contentType string) bool {
	kind, _, _ := strings.Cut(contentType, ";")
	switch strings.ToLower(strings.TrimSpace(kind)) {
	case "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines",
		"application/json-lines", "application/jsonlines", "text/x-ndjson", "text/ndjson":
		return true
	}
	return false
}
