package ingester

import "net/http"

// Browsers ask before almost every request of an SDK: it carries Authorization, and on a repetition X-Retry-Count. The door
// says yes to any page and any header, since a page is known by its write key only, which a pre-flight does not show; a
// source that names its origins refuses the request itself. Old SDKs and proxies send headers of their own, so the ones
// that are asked for are allowed rather than a list.
const (
	corsMethods = "GET, POST, OPTIONS"
	corsExposed = "Retry-After, X-Request-Id"
	corsMaxAge  = "7200" // seconds: the longest that Chromium keeps an answer
)

// allowOrigin lets the page that sent a request read its answer, also one that tells what is wrong.
func allowOrigin(h http.Header, r *http.Request) {
	h.Add("Vary", "Origin")
	page := r.Header.Get("Origin")
	if page == "" {
		return
	}
	h.Set("Access-Control-Allow-Origin", page)
	h.Set("Access-Control-Allow-Credentials", "true")
	h.Set("Access-Control-Expose-Headers", corsExposed)
}

// allowRequest answers a pre-flight.
func allowRequest(h http.Header, r *http.Request) {
	h.Set("Access-Control-Allow-Methods", corsMethods)
	h.Set("Access-Control-Max-Age", corsMaxAge)
	if headers := r.Header.Get("Access-Control-Request-Headers"); headers != "" {
		h.Set("Access-Control-Allow-Headers", headers)
	}
	// A public page may reach a door in a private network, or on this machine, if the door says so.
	if r.Header.Get("Access-Control-Request-Private-Network") == "true" {
		h.Set("Access-Control-Allow-Private-Network", "true")
	}
}
