package proxy_test

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/libs/testkit/proxy"
)

// pair is a connection through a proxy: what the client has and what the
// server behind the proxy has of it.
type pair struct {
	*proxy.Proxy
	t              *testing.T
	ln             net.Listener
	client, server *net.TCPConn
}

// start makes a proxy with one connection, and looks for goroutines that are
// left at the end.
func start(t *testing.T) *pair {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	p, err := proxy.Start(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	r := &pair{Proxy: p, t: t, ln: ln}
	r.client, r.server = r.dial()
	return r
}

// dial opens one more connection.
func (r *pair) dial() (client, server *net.TCPConn) {
	r.t.Helper()
	c, err := net.Dial("tcp", r.Addr())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	s, err := r.ln.Accept()
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = s.Close() })
	r.send(c, ".") // the kernels connect before the proxy has both ends: now it has
	r.reads(s, ".")
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

func (r *pair) send(c net.Conn, text string) {
	r.t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		r.t.Fatalf("send %q: %v", text, err)
	}
}

// reads asserts what arrives next.
func (r *pair) reads(c net.Conn, want string) {
	r.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
	got := make([]byte, len(want))
	n, err := io.ReadFull(c, got)
	if err != nil || string(got) != want {
		r.t.Fatalf("read %q, %v; want %q", got[:n], err, want)
	}
}

// silent asserts that nothing arrives, for as long as a fast machine needs a
// thousand times over.
func (r *pair) silent(c net.Conn) {
	r.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	var b [16]byte
	if n, err := c.Read(b[:]); !errors.Is(err, os.ErrDeadlineExceeded) {
		r.t.Fatalf("read %q, %v; want silence", b[:n], err)
	}
}

// ends asserts an orderly end.
func (r *pair) ends(c net.Conn) {
	r.t.Helper()
	if err := r.last(c); !errors.Is(err, io.EOF) {
		r.t.Fatalf("read: %v; want the end", err)
	}
}

// broken asserts a reset.
func (r *pair) broken(c net.Conn) {
	r.t.Helper()
	if err := r.last(c); !errors.Is(err, syscall.ECONNRESET) {
		r.t.Fatalf("read: %v; want a reset", err)
	}
}

func (r *pair) last(c net.Conn) error {
	r.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
	var b [16]byte
	n, err := c.Read(b[:])
	if n > 0 {
		r.t.Fatalf("read %q; want no more", b[:n])
	}
	return err
}
