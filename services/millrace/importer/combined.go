package importer

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	"github.com/millrace/millrace/services/millrace/combinedlog"
)

// httpRequest is the event of one line of an access log, in the Segment Spec's
// fields. Nobody on a log line has a name, so the visitor is who has this
// address and this agent.
type httpRequest struct {
	MessageID   string         `json:"messageId"`
	Type        string         `json:"type"`
	Event       string         `json:"event"`
	AnonymousID string         `json:"anonymousId"`
	Timestamp   string         `json:"timestamp"`
	Properties  httpProperties `json:"properties"`
	Context     httpContext    `json:"context"`
}

type httpProperties struct {
	Method   string `json:"method"`
	Path     string `json:"path"` // as on the line, with its query
	Protocol string `json:"protocol"`
	Status   int    `json:"status"`
	Bytes    int64  `json:"bytes"`
	// Request is there when the request line has no method, path and protocol.
	Request string `json:"request,omitempty"`
	User    string `json:"user,omitempty"`
}

type httpContext struct {
	Page      *httpPage `json:"page,omitempty"`
	UserAgent string    `json:"userAgent,omitempty"`
	IP        string    `json:"ip"`
}

type httpPage struct {
	URL      string `json:"url,omitempty"`
	Path     string `json:"path,omitempty"`
	Search   string `json:"search,omitempty"`
	Referrer string `json:"referrer,omitempty"`
}

// combined turns a line of the combined format into an event. The error is why
// the line is refused.
func combined(line []byte, id string) ([]byte, error) {
	e, err := combinedlog.Parse(string(line))
	if err != nil {
		return nil, err
	}
	path, query, _ := strings.Cut(e.Target, "?")
	if query != "" {
		query = "?" + query
	}
	ev := httpRequest{
		MessageID: id, Type: "track", Event: "HTTP Request",
		AnonymousID: visitor(e.Address, e.Agent),
		Timestamp:   e.Time.Format(time.RFC3339),
		Properties: httpProperties{
			Method: e.Method, Path: e.Target, Protocol: e.Protocol, Status: e.Status, Bytes: e.Bytes, User: e.User,
		},
		Context: httpContext{UserAgent: e.Agent, IP: e.Address},
	}
	if e.Method == "" {
		ev.Properties.Request = e.Request
	}
	if page := (httpPage{URL: e.Target, Path: path, Search: query, Referrer: e.Referrer}); page != (httpPage{}) {
		ev.Context.Page = &page
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(ev); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// visitor is the anonymous id of an address and agent.
func visitor(address, agent string) string {
	sum := sha256.Sum256([]byte(address + "\x00" + agent))
	return hex.EncodeToString(sum[:16])
}
