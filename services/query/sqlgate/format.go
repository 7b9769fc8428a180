package sqlgate

import (
	"mime"
	"net/http"
	"regexp"
	"strings"
)

var formatName = regexp.MustCompile(`^[A-Za-z0-9]{1,64}$`)

// eventStream is the type of server-sent events.
const eventStream = "text/event-stream"

// formats are ClickHouse's for the types that a request may accept.
var formats = map[string]string{
	"application/json":                    "JSON",
	"application/x-ndjson":                "JSONEachRow",
	"application/jsonl":                   "JSONEachRow",
	"text/csv":                            "CSVWithNames",
	"text/tab-separated-values":           "TSVWithNames",
	"application/vnd.apache.parquet":      "Parquet",
	"application/vnd.apache.arrow.stream": "ArrowStream",
	"application/vnd.apache.arrow.file":   "Arrow",
	eventStream:                           "JSONEachRowWithProgress",
}

// accepted is the format that a request asks for by its header Accept, "" when that leaves a choice: many clients send a
// list that ends in */* without meaning it.
func accepted(h http.Header) string {
	values := h.Values("Accept")
	if len(values) != 1 || strings.Contains(values[0], ",") {
		return ""
	}
	typ, _, err := mime.ParseMediaType(values[0])
	if err != nil {
		return ""
	}
	return formats[typ]
}
