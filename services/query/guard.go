package query

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/millrace/millrace/services/query/access"
	"github.com/millrace/millrace/services/query/problem"
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
func mayListen(addr string, keys bool) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("query-addr %q: want host:port, such as 127.0.0.1:8090", addr)
	}
	if keys || isLoopback(host) {
		return nil
	}
	return fmt.Errorf("query-addr %s can be reached from the network, and anybody there could read all events: "+
		"give --api-keys or --access-file, or listen on 127.0.0.1", addr)
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback() || strings.EqualFold(host, "localhost")
}

// guard decides who may ask. With API keys, every request shows one. Without, the port is on loopback and everybody who
// shows no key may ask everything; there the danger is a web page in the user's own browser: it may not come under another host's name (DNS
// rebinding), and not from another site, whatever the method (a question of another origin is sent by the browser even if
// its answer is not shown to the page, which sees how long it took).
type guard struct {
	ring   *access.Ring
	origin *http.CrossOriginProtection
}

func newGuard(ring *access.Ring) *guard {
	return &guard{ring: ring, origin: http.NewCrossOriginProtection()}
}

// admit returns the key that a request may go on with, or why it may not go on.
func (g *guard) admit(r *http.Request) (*access.Key, *problem.Problem) {
	settled := g.ring.Settled() // before the lookup: the sources may be read between the two
	key, known := g.ring.Find(r)
	if !known && access.Shows(r) && !settled {
		return nil, problem.New(http.StatusServiceUnavailable, problem.Unavailable, "the keys of the sources have not been read yet: ask again in a moment")
	}
	if g.ring.Closed() {
		if !known {
			return nil, problem.New(http.StatusUnauthorized, problem.Unauthorized, "send an API key as Authorization: Bearer <key>")
		}
		return key, nil
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if !isLoopback(strings.Trim(host, "[]")) {
		return nil, problem.New(http.StatusForbidden, problem.Forbidden,
			"this port answers on loopback only, under the names localhost, 127.0.0.1 and [::1]; with --api-keys it answers under any name")
	}
	asWritten := r.WithContext(r.Context())
	asWritten.Method = http.MethodPost // the check lets GET pass as what changes nothing; here it asks, and its time tells
	if err := g.origin.Check(asWritten); err != nil {
		return nil, problem.New(http.StatusForbidden, problem.Forbidden, "a page of another site may not ask questions here")
	}
	switch {
	case known:
		return key, nil
	case access.Shows(r): // who shows one is to be told that it is wrong, and not to go on with more than it would open
		return nil, problem.New(http.StatusUnauthorized, problem.Unauthorized, "the key is unknown here: show another, or none, which is enough on loopback")
	}
	return access.Everything(), nil
}
