package bus

import (
	"net/netip"
	"net/url"
	"strings"

	"github.com/nats-io/nats.go"
)

// Local says whether NATS can only be on this machine: the connection needs no socket, or every address is on loopback.
func (c *Config) Local() bool {
	if c.InProcess != nil {
		return true
	}
	list := c.URL
	if list == "" {
		list = nats.DefaultURL
	}
	for one := range strings.SplitSeq(list, ",") {
		one = strings.TrimSpace(one)
		if !strings.Contains(one, "://") {
			one = "nats://" + one
		}
		u, err := url.Parse(one)
		if err != nil {
			return false
		}
		ip, err := netip.ParseAddr(u.Hostname())
		if !strings.EqualFold(u.Hostname(), "localhost") && (err != nil || !ip.Unmap().IsLoopback()) {
			return false
		}
	}
	return true
}
