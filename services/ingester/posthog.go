package ingester

import (
	"encoding/json"
	"io"
	"net/http"
)

// What PostHog's SDKs ask for beside sending events. There are no flags, surveys or recordings here, and a plain "none" is
// what keeps the SDKs quiet: without an answer they ask again and again, and write errors into the page's console. The
// shapes are those that posthog-js 1.449.2 and posthog-node 5.70.0 read.

// posthogNone is the remote configuration in which everything but events is off. It does not mention surveys: at
// surveys=false posthog-js loads their script all the same, which is not here.
type posthogNone struct {
	Token                string         `json:"token"`
	SupportedCompression []string       `json:"supportedCompression"`
	HasFeatureFlags      bool           `json:"hasFeatureFlags"`
	CaptureDeadClicks    bool           `json:"captureDeadClicks"`
	CapturePerformance   bool           `json:"capturePerformance"`
	AutocaptureOptOut    bool           `json:"autocapture_opt_out"`
	AutocaptureErrors    bool           `json:"autocaptureExceptions"`
	Analytics            map[string]any `json:"analytics"`
	ElementsChainAsText  bool           `json:"elementsChainAsString"`
	SessionRecording     bool           `json:"sessionRecording"`
	Heatmaps             bool           `json:"heatmaps"`
	Conversations        bool           `json:"conversations"`
	ProductTours         bool           `json:"productTours"`
	DefaultIdentified    bool           `json:"defaultIdentifiedOnly"`
	SiteApps             []any          `json:"siteApps"`
	ToolbarParams        struct{}       `json:"toolbarParams"`
}

func newPosthogNone(token string) []byte {
	text, _ := json.Marshal(posthogNone{ // strings and flags
		Token: token, SupportedCompression: []string{"gzip-js"}, Analytics: map[string]any{"endpoint": "/i/v0/e/"},
		ElementsChainAsText: true, DefaultIdentified: true, SiteApps: []any{},
	})
	return text
}

// posthogConfig answers posthog-js's question what is switched on. Nobody needs a key to hear that nothing is.
func (s *Ingester) posthogConfig(w http.ResponseWriter, _ *http.Request, to *route) (reply, error) {
	brief(w)
	return reply{kind: "application/json", body: append(newPosthogNone(to.arg), '\n')}, nil
}

// posthogConfigScript answers the same as a script, which posthog-js asks for first.
func (s *Ingester) posthogConfigScript(w http.ResponseWriter, _ *http.Request, to *route) (reply, error) {
	brief(w)
	token, _ := json.Marshal(to.arg) // a string; json escapes what could end a script
	body := `(function(){var all=window._POSTHOG_REMOTE_CONFIG=window._POSTHOG_REMOTE_CONFIG||{};all[` + string(token) +
		`]={config:` + string(newPosthogNone(to.arg)) + `,siteApps:[]}})();` + "\n"
	return reply{kind: "text/javascript; charset=utf-8", body: []byte(body)}, nil
}

// posthogFlags answers that no flag is set: to /flags, and in the older shape of /decide, which a client takes as well.
func (s *Ingester) posthogFlags(_ http.ResponseWriter, r *http.Request, _ *route) (reply, error) {
	drain(r)
	return reply{kind: "application/json", body: []byte(`{"flags":{},"featureFlags":{},"featureFlagPayloads":{},` +
		`"errorsWhileComputingFlags":false,"sessionRecording":false,"supportedCompression":["gzip-js"],"siteApps":[]}` + "\n")}, nil
}

// discard takes what nothing here is made of, so that its sender does not send it again.
func (s *Ingester) discard(_ http.ResponseWriter, r *http.Request, _ *route) (reply, error) {
	drain(r)
	return reply{kind: "application/json", body: []byte(`{"status":1}` + "\n")}, nil
}

// maxDrained is how much of a body is read although nothing becomes of it. A sender that is cut off while it still sends
// does not see the answer and repeats the request; one with more than this has lost its bearings.
const maxDrained = 32 << 20

// drain reads what is left of a body, without keeping it. A sender that asked first (Expect) has not sent it.
func drain(r *http.Request) {
	if r.Body == nil || r.Header.Get("Expect") != "" {
		return
	}
	body := io.Reader(r.Body)
	if b, ok := body.(seated); ok {
		body = b.ReadCloser // what is not kept takes nobody's share
	}
	_, _ = io.CopyN(io.Discard, body, maxDrained) // the answer goes out whatever this says
}

// brief lets answers that change with the door's settings be kept for a minute: what browsers save by asking once a page.
func brief(w http.ResponseWriter) { w.Header().Set("Cache-Control", "public, max-age=60") }
