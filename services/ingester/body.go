package ingester

import (
	"bytes"
	"io"
	"net/http"
	"strings"

	"github.com/millrace/millrace/libs/event"
)

// magic are the first bytes of compressed bodies: RFC 1952 for gzip, RFC 8878 for zstd, RFC 1950 for deflate (only those
// that no text begins with). No JSON begins like them. Some SDKs compress without saying so (posthog-js sends gzip as
// text/plain), and proxies undo compression and leave the label.
var magic = []struct{ bytes, encoding string }{
	{"\x1f\x8b", "gzip"},
	{"\x28\xb5\x2f\xfd", "zstd"},
	{"\x78\x01", "deflate"},
	{"\x78\x9c", "deflate"},
	{"\x78\xda", "deflate"},
}

// encodingOf is how a body is compressed, "" for not at all: what its first bytes say, and only if they say nothing what
// its label (Content-Encoding) says. A label is wrong if what it stands on is JSON or a form.
func encodingOf(label string, body []byte) string {
	if encoding := sniff(body); encoding != "" {
		return encoding
	}
	if isText(body) {
		return ""
	}
	return labelled(label)
}

// labelled is what a Content-Encoding says, "" for nothing.
func labelled(label string) string {
	if label = strings.ToLower(strings.TrimSpace(label)); label == "identity" {
		return ""
	}
	return label
}

// isOpaque says whether a body is the data of a binary CloudEvent and no text: then a first byte means nothing.
func isOpaque(h http.Header) bool {
	if h.Get("Ce-Specversion") == "" {
		return false
	}
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	return kind != "" && !strings.Contains(kind, "json") && !strings.HasPrefix(kind, "text/")
}

// sniff is the encoding that a body shows by itself.
func sniff(body []byte) string {
	for _, m := range magic {
		if bytes.HasPrefix(body, []byte(m.bytes)) {
			return m.encoding
		}
	}
	return ""
}

// isText says whether a body begins like JSON or a form, or is empty.
func isText(body []byte) bool {
	body = bytes.TrimLeft(bytes.TrimPrefix(body, []byte("\xEF\xBB\xBF")), " \t\r\n")
	if len(body) == 0 || body[0] == '{' || body[0] == '[' {
		return true
	}
	name, _, ok := bytes.Cut(body[:min(len(body), 64)], []byte("="))
	return ok && len(name) > 0 && bytes.IndexFunc(name, func(r rune) bool { return r != '_' && (r|0x20 < 'a' || r|0x20 > 'z') }) < 0
}

// isNDJSON says whether a Content-Type promises one event a line.
func isNDJSON(contentType string) bool {
	kind, _, _ := strings.Cut(contentType, ";")
	switch strings.ToLower(strings.TrimSpace(kind)) {
	case "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines",
		"application/json-lines", "application/jsonlines", "text/x-ndjson", "text/ndjson":
		return true
	}
	return false
}

// receive reads a request's body into in.wire. The bytes are taken from the
// budget as they arrive, so that announcing a body costs nobody anything.
// spent is what the caller frees, also after an error.
func (d *door) receive(in *intake, body io.Reader) (spent int64, err error) {
	counted := &countedReader{r: body, budget: d.budget}
	in.wire, err = d.unzip.Append(in.wire[:0], "", counted)
	return counted.n, err
}

// decode undoes the encoding of wire and returns the body, which is wire
// itself when there is none.
func (d *door) decode(in *intake, encoding string, wire []byte) (body []byte, spent int64, err error) {
	if encoding == "" {
		return wire, 0, nil
	}
	// How much comes out is known only afterwards.
	most := int64(d.limits.MaxRequest)
	if !d.budget.take(most) {
		return nil, 0, errBusy
	}
	in.body, err = d.unzip.Append(in.body[:0], encoding, bytes.NewReader(wire))
	spent = int64(len(in.body))
	d.budget.free(most - spent)
	return in.body, spent, err
}

// countedReader takes from the budget what it reads.
type countedReader struct {
	r      io.Reader
	budget *budget
	n      int64
}

func (c *countedReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if !c.budget.take(int64(n)) {
		return 0, errBusy
	}
	c.n += int64(n)
	return n, err
}

// The largest message that NATS may be asked to carry beside a body: the rest
// of its row, frame and headers in RAW, and later the envelope of the dead
// letter that holds the same bytes.
const envelope = 64 << 10

// limitsFor lowers the limits to what fits into one message.
func limitsFor(limits event.Limits, maxPayload int64) event.Limits {
	limits.MaxRequest = int(min(int64(limits.MaxRequest), maxPayload-envelope))
	limits.MaxEvent = min(limits.MaxEvent, limits.MaxRequest)
	return limits
}
