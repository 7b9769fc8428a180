package ingester

import (
	"net/http"
	"strings"

	"github.com/millrace/millrace/libs/bus/sources"
)

// writeKeyOf is the key that a request brings: X-Write-Key, the user name of
// Basic, or a Bearer token.
func writeKeyOf(r *http.Request) string {
	if key := r.Header.Get("X-Write-Key"); key != "" {
		return key
	}
	if user, _, ok := r.BasicAuth(); ok {
		return user
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token)
	}
	return ""
}

// sender is the source that a write key stands for. Until the sources have been
// read, a key that is not known may be a good one: SDKs drop what is answered
// with 401.
func (s *Ingester) sender(key string) (*sources.Source, error) {
	settled := s.sources.Loaded() // before the lookup: they may be read between the two
	if source, ok := s.sources.ByKey(key); ok {
		return source, nil
	}
	if !settled {
		return nil, errStarting
	}
	return nil, newProblem(http.StatusUnauthorized, "unknown_write_key",
		"send a write key as X-Write-Key, as user name of Basic, or as Bearer token; a key that was disabled, or whose source was, is unknown")
}
