package ingester

import (
	"net/http"
	"strings"
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
