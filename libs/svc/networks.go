package svc

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
)

// Networks is a flag.Value: a comma-separated list of addresses and CIDR
// ranges, such as the proxies in front of a port.
type Networks []netip.Prefix

// Set replaces the list.
func (n *Networks) Set(list string) error {
	*n = nil
	for part := range strings.SplitSeq(list, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		prefix, err := netip.ParsePrefix(part)
		if err != nil {
			addr, addrErr := netip.ParseAddr(part)
			if addrErr != nil {
				return fmt.Errorf("%q is neither an address nor a range like 10.0.0.0/8", part)
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		*n = append(*n, prefix.Masked())
	}
	return nil
}

// String implements flag.Value.
func (n *Networks) String() string {
	parts := make([]string, len(*n))
	for i, p := range *n {
		parts[i] = p.String()
	}
	return strings.Join(parts, ",")
}

func (n Networks) contains(a netip.Addr) bool {
	for _, p := range n {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// ClientIP is the address of whoever sent the request: that of the
// connection, unless it is one of the trusted proxies'; then the right-most
// address in X-Forwarded-For that is not. What stands left of it, the client
// may have written itself. It is "" when the connection has no address.
func (n Networks) ClientIP(r *http.Request) string {
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	client := remote.Addr().Unmap().WithZone("")
	if len(n) == 0 {
		return client.String()
	}
	var hops []string
	for _, line := range r.Header.Values("X-Forwarded-For") {
		hops = append(hops, strings.Split(line, ",")...)
	}
	for i := len(hops) - 1; i >= 0 && n.contains(client); i-- {
		hop, ok := parseHop(hops[i])
		if !ok { // nothing beyond it can be believed
			break
		}
		client = hop
	}
	return client.String()
}

// parseHop reads an address as proxies write it: with or without a port, IPv6
// with or without brackets.
func parseHop(text string) (netip.Addr, bool) {
	text = strings.TrimSpace(text)
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	a, err := netip.ParseAddr(strings.Trim(text, "[]"))
	return a.Unmap().WithZone(""), err == nil
}
