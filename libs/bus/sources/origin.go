package sources

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"unicode"
)

// errNotASCII: browsers send such a host in another form (RFC 3490), with which
// it would never agree.
var errNotASCII = errors.New("the host has letters that browsers do not send as they are: write it in punycode, which begins with xn--, as the browser's tools show it")

// normalOrigin brings an allowed origin into the form in which browsers send
// theirs (RFC 6454, 6.2): lower case, without a port that is the scheme's own.
// The host may begin with "*.", which stands for one or more labels.
func normalOrigin(text string) (string, error) {
	bad := func(why string) (string, error) {
		return "", fmt.Errorf("origin %q: %s; want https://shop.example.com or https://*.example.com", text, why)
	}
	u, err := url.Parse(strings.ToLower(strings.TrimSpace(text)))
	switch {
	case err != nil || u.Scheme == "" || u.Host == "":
		return bad("it has no scheme or no host")
	case u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return bad("there is more than scheme, host and port")
	}
	host, port := u.Hostname(), u.Port()
	rest, wild := strings.CutPrefix(host, "*.")
	switch {
	case strings.Contains(rest, "*"):
		return bad("a star can only be the first part of the host")
	case wild && !strings.Contains(rest, ".") && rest != "localhost":
		return bad("a whole top-level domain is too much")
	case rest == "" || strings.HasPrefix(rest, ".") || strings.HasSuffix(rest, "."):
		return bad("the host is not whole")
	case strings.ContainsFunc(rest, func(c rune) bool { return c > unicode.MaxASCII }):
		return "", fmt.Errorf("origin %q: %w", text, errNotASCII)
	}
	if u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		port = ""
	}
	switch {
	case port != "":
		host = net.JoinHostPort(host, port)
	case strings.Contains(host, ":"):
		host = "[" + host + "]"
	}
	return u.Scheme + "://" + host, nil
}

// originMatches compares the Origin of a request with an allowed one.
func originMatches(allowed, origin string) bool {
	scheme, host, ok := strings.Cut(allowed, "://*")
	if !ok {
		return allowed == origin
	}
	// host begins with a dot, so that example.com.evil.org and evilexample.com
	// do not match; port and all are part of it.
	rest, ok := strings.CutPrefix(origin, scheme+"://")
	if !ok {
		return false
	}
	sub, ok := strings.CutSuffix(rest, host)
	return ok && sub != "" && !strings.ContainsAny(sub, "/:@?#[]") && !strings.HasPrefix(sub, ".")
}
