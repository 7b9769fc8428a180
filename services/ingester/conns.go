package ingester

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// gate is the listener of the HTTP door: it bounds the connections, altogether and of one address, and undoes TLS. What is
// over a bound is closed without an answer, which every SDK takes for a network that is down and tries again: an answer
// would cost what the bound saves. Trusted proxies are many clients and are bounded only with all others.
type gate struct {
	net.Listener
	tls      *tls.Config // nil: none
	most     int
	mostEach int
	isProxy  func(netip.Addr) bool
	refused  prometheus.Counter
	open     prometheus.Gauge

	mu    sync.Mutex // guards all below
	total int
	each  map[netip.Addr]int
}

// Accept returns the next connection that is within the bounds.
func (g *gate) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := g.client(c)
		if !g.enter(from) {
			g.refused.Inc()
			_ = c.Close() // it is not wanted
			continue
		}
		leave := sync.OnceFunc(func() { g.leave(from) })
		if g.tls != nil {
			return &conn{Conn: tls.Server(c, g.tls), tcp: c, leave: leave}, nil
		}
		return &conn{Conn: c, tcp: c, leave: leave}, nil
	}
}

// client is the address whose connections are counted together; the zero address for those that are not.
func (g *gate) client(c net.Conn) netip.Addr {
	ap, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	a := ap.Addr().Unmap().WithZone("")
	if g.isProxy(a) {
		return netip.Addr{}
	}
	return clientNet(a)
}

// clientNet stands for all addresses that one client has: of IPv6 it is a whole /64.
func clientNet(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			a = p.Addr()
		}
	}
	return a
}

func (g *gate) enter(from netip.Addr) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.total >= g.most || from.IsValid() && g.each[from] >= g.mostEach {
		return false
	}
	g.total++
	g.open.Set(float64(g.total))
	if from.IsValid() {
		g.each[from]++
	}
	return true
}

func (g *gate) leave(from netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.total--
	g.open.Set(float64(g.total))
	if !from.IsValid() {
		return
	}
	if g.each[from]--; g.each[from] == 0 {
		delete(g.each, from)
	}
}

// conn is a connection as net/http sees it: without TLS even if there is TLS below, so that whatever net/http writes comes
// by here. It answers 501 to an unknown Transfer-Encoding and 505 to an unknown version by itself, and SDKs drop their
// events at those; 400 they drop too, but it says what is meant: that the request is wrong.
type conn struct {
	net.Conn
	tcp   net.Conn
	told  sync.Once // that it should have spoken TLS
	leave func()
}

// Read begins with the handshake when there is TLS.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err == nil {
		return n, nil
	}
	if plain, ok := errors.AsType[tls.RecordHeaderError](err); ok && plain.Conn != nil && isHTTP(plain.RecordHeader) {
		c.told.Do(func() {
			_ = c.tcp.SetWriteDeadline(time.Now().Add(time.Second))
			_, _ = io.WriteString(c.tcp, "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\nthis port takes https only\n")
		})
	}
	return n, err
}

// isHTTP says whether the first bytes, where a TLS record was expected, are a method.
func isHTTP(head [5]byte) bool {
	return slices.Contains([]string{"GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "PRI *"}, string(head[:]))
}

// ownErrors are the beginnings of what net/http answers by itself.
var ownErrors = [][]byte{[]byte("HTTP/1.1 501 "), []byte("HTTP/1.1 505 ")}

// Write turns these answers into a 400. Handlers answer nothing that begins like them.
func (c *conn) Write(p []byte) (int, error) {
	if bytes.HasPrefix(p, []byte("HTTP/1.1 50")) {
		for _, own := range ownErrors {
			if rest, ok := bytes.CutPrefix(p, own); ok {
				if i := bytes.Index(rest, []byte("\r\n")); i > 0 { // net/http's reason
					rest = rest[i:]
				}
				if _, err := c.Conn.Write(append([]byte("HTTP/1.1 400 Bad Request"), rest...)); err != nil {
					return 0, err
				}
				return len(p), nil
			}
		}
	}
	return c.Conn.Write(p)
}

// CloseWrite lets net/http wait until the sender of a request that it did not read has seen the answer.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Close makes room for another one.
func (c *conn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
