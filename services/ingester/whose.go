package ingester

import (
	"net/http"

	"github.com/millrace/millrace/libs/bus/sources"
)

// Where a write key may stand in a query: for pages that can set no header (sendBeacon, <img>), and as PostHog's SDKs do.
var queryKeys = []string{"writeKey", "write_key", "api_key", "token"}

// lastQueryKey is tried last of all, after the body: it is what PostHog's SDKs call the time of sending.
const lastQueryKey = "_"

// sourceOf finds whose key a request shows before its body: in a header, or in the query. Keys that nobody has are passed
// over, because some SDKs put a token of another service into Authorization and the key into the body. It is nil when
// there is none, and an error when its source does not take requests from the page.
func (s *Ingester) sourceOf(r *http.Request) (source *sources.Source, err error) {
	if source, err = s.sourceByKey(r, writeKeyOf(r)); source != nil || err != nil || r.URL.RawQuery == "" {
		return source, err
	}
	query := r.URL.Query()
	for _, name := range queryKeys {
		if source, err = s.sourceByKey(r, query.Get(name)); source != nil || err != nil {
			return source, err
		}
	}
	return nil, nil
}

// sourceInBody finds whose the key in a body is.
func (s *Ingester) sourceInBody(r *http.Request, key string) (*sources.Source, error) {
	known := s.sources.Loaded()
	source, err := s.sourceByKey(r, key)
	if source == nil && err == nil && r.URL.RawQuery != "" {
		source, err = s.sourceByKey(r, r.URL.Query().Get(lastQueryKey))
	}
	if source == nil && err == nil {
		return nil, s.unknownKey(known)
	}
	return source, err
}

// sourceByKey is nil for a key that nobody has.
func (s *Ingester) sourceByKey(r *http.Request, key string) (*sources.Source, error) {
	if key == "" {
		return nil, nil
	}
	source, ok := s.sources.ByKey(key)
	switch page := r.Header.Get("Origin"); {
	case !ok:
		return nil, nil
	case !source.AllowsOrigin(page):
		return nil, newProblem(http.StatusForbidden, "origin_not_allowed", "the source of this write key takes no events from pages of this origin")
	}
	return source, nil
}

// unknownKey is what a request is told that shows no key that anybody has. If the sources were not known when it was
// looked for, it may be a good one.
func (s *Ingester) unknownKey(known bool) error {
	if !known {
		return errStarting
	}
	_, err := s.sender("") // words it
	return err
}

// become counts what a request has under way for the source that its body has shown. Until then it counts for the
// address of its sender. It is called where nothing but tests has no seat.
func (s *seat) become(source string) error {
	if s == nil {
		return nil
	}
	f := s.f
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hold(s.source, -s.n)
	s.source = source
	f.hold(source, s.n)
	if f.held[source] > s.n && f.crowds(source, 0) { // its only request goes on
		return errFairShare
	}
	return nil
}
