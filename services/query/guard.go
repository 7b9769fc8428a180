package query

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Keys are the bearer keys that open the query port. As a flag they are a list joined by commas that is never printed.
type Keys []string

// Set implements flag.Value.
func (k *Keys) Set(v string) error {
	*k = nil
	for key := range strings.SplitSeq(v, ",") {
		if key = strings.TrimSpace(key); key == "" {
			continue
		}
		if len(key) < 16 {
			return fmt.Errorf("a key of %d characters can be guessed, at least 16 are needed", len(key))
		}
		*k = append(*k, key)
	}
	return nil
}

// String implements flag.Value and never shows a key.
func (k *Keys) String() string {
	if k == nil || len(*k) == 0 {
		return ""
	}
	return "<redacted>"
}

// IsSecret tells libs/svc to redact the flag.
func (k *Keys) IsSecret() bool { return len(*k) > 0 }

// mayListen refuses to open the data to a network without keys.
func mayListen(addr string, keys Keys) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("query-addr %q: want host:port, such as 127.0.0.1:8090", addr)
	}
	if len(keys) > 0 || isLoopback(host) {
		return nil
	}
	return fmt.Errorf("query-addr %s can be reached from the network, and anybody there could read all events: "+
		"give --api-keys, or listen on 127.0.0.1", addr)
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback() || strings.EqualFold(host, "localhost")
}

// guard decides who may ask. With keys, every request shows one. Without keys the port is on loopback, where the danger
// is a web page in the user's own browser: it may not come under another host's name (DNS rebinding), and not from
// another site (a question of another origin is sent by the browser even if its answer is not shown to the page).
type guard struct {
	keys   [][sha256.Size]byte
	origin *http.CrossOriginProtection
}

func newGuard(keys Keys) *guard {
	g := &guard{origin: http.NewCrossOriginProtection()}
	for _, k := range keys {
		g.keys = append(g.keys, sha256.Sum256([]byte(k)))
	}
	return g
}

// refuse returns why a request may not go on, nil if it may.
func (g *guard) refuse(r *http.Request) *problem {
	if len(g.keys) > 0 {
		scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		sum := sha256.Sum256([]byte(strings.TrimSpace(key)))
		known := slices.ContainsFunc(g.keys, func(k [sha256.Size]byte) bool {
			return subtle.ConstantTimeCompare(k[:], sum[:]) == 1
		})
		if !strings.EqualFold(scheme, "Bearer") || !known {
			return newProblem(http.StatusUnauthorized, kindUnauthorized, "send one of the keys of --api-keys as Authorization: Bearer <key>")
		}
		return nil
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if !isLoopback(strings.Trim(host, "[]")) {
		return newProblem(http.StatusForbidden, kindForbidden,
			"this port answers on loopback only, under the names localhost, 127.0.0.1 and [::1]; with --api-keys it answers under any name")
	}
	if err := g.origin.Check(r); err != nil {
		return newProblem(http.StatusForbidden, kindForbidden, "a page of another site may not ask questions here")
	}
	return nil
}
