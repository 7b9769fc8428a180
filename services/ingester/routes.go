package ingester

import (
	"net/http"
	"path"
	"strings"
)

// tongue is who speaks on a path: the label of metrics, which mapper reads the body, and what an answer looks like.
type tongue string

const (
	tongueEvents      tongue = "events"
	tongueSegment     tongue = "segment" // and RudderStack, whose SDKs say the same
	tonguePostHog     tongue = "posthog"
	tongueCloudEvents tongue = "cloudevents"
	tongueOther       tongue = "other" // no path of ours
)

// tongues are all of them, so that the label is a closed set.
var tongues = []tongue{tongueEvents, tongueSegment, tonguePostHog, tongueCloudEvents, tongueOther}

const (
	// pathEvents is the door for events in the words of package event.
	pathEvents = "/v1/events"
	// pathCloudEvents is where CloudEvents need no header to be known.
	pathCloudEvents = "/v1/cloudevents"
)

// task answers a request of a route; an error is put into words by problemOf. HEAD comes here like GET and stores nothing.
type task func(s *Ingester, w http.ResponseWriter, r *http.Request, to *route) (reply, error)

// reply is the answer to a request that went well.
type reply struct {
	kind string // Content-Type
	body []byte
}

// route is what a path is for.
type route struct {
	tongue    tongue
	post, get task   // nil: 405
	path      string // cleaned: no slash at its end, none twice
	arg       string // the part of the path that differs, such as the key of settings
}

// newRoutes is the table of the paths that have no part that differs.
func newRoutes() map[string]route {
	table := map[string]route{
		pathEvents:      {tongue: tongueEvents, post: (*Ingester).takeEvents},
		pathCloudEvents: {tongue: tongueCloudEvents, post: (*Ingester).takeEvents},
	}
	segment := route{tongue: tongueSegment, post: (*Ingester).takeEvents}
	for _, call := range []string{
		"track", "identify", "page", "screen", "group", "alias", "merge", "batch", "import",
		"t", "i", "p", "s", "g", "a", "b", // the browser's
	} {
		table["/v1/"+call] = segment
	}
	for _, call := range []string{"track", "identify", "page", "screen", "group", "alias"} {
		image := route{tongue: tongueSegment, get: (*Ingester).takePixel}
		table["/v1/pixel/"+call] = image // Segment's
		table["/pixel/v1/"+call] = image // RudderStack's
	}
	// Counts that analytics-next keeps about itself, if settings ask for a sample of them.
	table["/v1/m"] = route{tongue: tongueSegment, post: (*Ingester).discard}

	capture := route{tongue: tonguePostHog, post: (*Ingester).takeEvents, get: (*Ingester).takeEvents}
	for _, p := range []string{"/batch", "/e", "/capture", "/track", "/engage", "/i/v0/e"} {
		table[p] = capture
	}
	table["/s"] = route{tongue: tonguePostHog, post: (*Ingester).discard} // recordings of sessions
	for _, p := range []string{"/flags", "/decide"} {
		table[p] = route{tongue: tonguePostHog, post: (*Ingester).posthogFlags, get: (*Ingester).posthogFlags}
	}
	for p, to := range table {
		to.path = p
		table[p] = to
	}
	return table
}

// find is the route of a request. Its path may have a slash at its end, and slashes that follow each other, as they do
// when an SDK was given a host with one.
func (s *Ingester) find(r *http.Request) route {
	p := r.URL.Path
	if strings.Contains(p, "//") {
		p = path.Clean(p)
	}
	if len(p) > 1 {
		p = strings.TrimSuffix(p, "/")
	}
	to, ok := s.routes[p]
	if !ok {
		return named(p)
	}
	if to.tongue == tongueEvents && isCloudEvent(r.Header) {
		to.tongue = tongueCloudEvents
	}
	return to
}

// named finds the routes that have a name in them.
func named(p string) route {
	to := route{tongue: tongueOther, path: p}
	between := func(before, after string) bool {
		arg, ok := strings.CutPrefix(p, before)
		if ok {
			arg, ok = strings.CutSuffix(arg, after)
		}
		if !ok || arg == "" || strings.Contains(arg, "/") {
			return false
		}
		to.arg = arg
		return true
	}
	switch {
	case between("/v1/projects/", "/settings"):
		to.tongue, to.get = tongueSegment, (*Ingester).settings
	case between("/analytics.js/v1/", "/analytics.min.js"):
		to.tongue, to.get = tongueSegment, (*Ingester).snippet
	case between("/analytics-next/bundles/", ""):
		to.tongue, to.get = tongueSegment, (*Ingester).bundle
	case between("/array/", "/config"):
		to.tongue, to.get = tonguePostHog, (*Ingester).posthogConfig
	case between("/array/", "/config.js"):
		to.tongue, to.get = tonguePostHog, (*Ingester).posthogConfigScript
	}
	return to
}

// isCloudEvent says whether a body is CloudEvents by its headers: structured and batched by Content-Type, binary by the
// version, which no other event has.
func isCloudEvent(h http.Header) bool {
	kind := h.Get("Content-Type")
	const prefix = "application/cloudevents"
	return len(kind) >= len(prefix) && strings.EqualFold(kind[:len(prefix)], prefix) || h.Get("Ce-Specversion") != ""
}

// allowed are the methods of a route, for the header Allow.
func (to *route) allowed() string {
	switch {
	case to.post == nil:
		return "GET, HEAD, OPTIONS"
	case to.get == nil:
		return "OPTIONS, POST"
	}
	return "GET, HEAD, OPTIONS, POST"
}

// known says whether there is anything at the path.
func (to *route) known() bool { return to.post != nil || to.get != nil }

// task is what answers a method; nil for none.
func (to *route) task(method string) task {
	switch method {
	case http.MethodPost:
		return to.post
	case http.MethodGet, http.MethodHead:
		return to.get
	}
	return nil
}

// keyInBody says whether a write key may be in the body, which then has to be read before it is known whose it is.
func (to *route) keyInBody() bool { return to.tongue == tongueSegment || to.tongue == tonguePostHog }

// head is how the answer to stored events begins: with what the SDK's own service would say.
func (to *route) head() string {
	switch to.tongue {
	case tongueSegment:
		return `"success":true,`
	case tonguePostHog:
		return `"status":1,`
	}
	return ""
}
