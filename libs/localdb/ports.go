package localdb

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// ports of one start. The native port is claimed already when a guard stands before the engine: the child inherits
// the listener, and the engine listens on a port of its own.
type ports struct {
	http, native int
	engine       int              // what the engine's native protocol listens on; native itself without a guard
	listener     *net.TCPListener // of the guard; nil without one
}

// choosePorts checks the ports that were asked for and picks free ones for 0. Somebody may take a port between here and
// the engine's start; Start tries again then.
func choosePorts(cfg Config, guarded bool) (ports, error) {
	httpL, err := claim(cfg.ListenHost, cfg.HTTPPort, "HTTP")
	if err != nil {
		return ports{}, err
	}
	// All are held until the last is chosen, so that they differ.
	defer func() { _ = httpL.Close() }()
	nativeL, err := claim(cfg.ListenHost, cfg.TCPPort, "native")
	if err != nil {
		return ports{}, err
	}
	p := ports{http: portOf(httpL), native: portOf(nativeL), engine: portOf(nativeL)}
	if !guarded {
		return p, nativeL.Close()
	}
	engineL, err := claim(cfg.ListenHost, 0, "native, behind the guard")
	if err != nil {
		_ = nativeL.Close()
		return ports{}, err
	}
	p.engine, p.listener = portOf(engineL), nativeL
	return p, engineL.Close()
}

func portOf(l *net.TCPListener) int { return l.Addr().(*net.TCPAddr).Port }

func claim(host string, port int, what string) (*net.TCPListener, error) {
	addr := net.JoinHostPort(host, strconv.Itoa(port))
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%w: %s (ClickHouse %s): %w", ErrPortTaken, addr, what, err)
	}
	return l.(*net.TCPListener), nil
}

// answers asks over HTTP for the instance's word and opens a native connection.
func answers(ctx context.Context, a Addrs, password, instance string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet,
		a.HTTP+"/?query="+url.QueryEscape("SELECT getMacro('millrace_instance')"), nil)
	if err != nil {
		return err
	}
	req.SetBasicAuth(ReaderUser, password)
	// A transport of its own, closed at once: no connection is left behind for a server that may be killed.
	tr := &http.Transport{Proxy: nil, DisableKeepAlives: true}
	defer tr.CloseIdleConnections()
	res, err := (&http.Client{Transport: tr}).Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<10))
	if err != nil {
		return err
	}
	if got := strings.TrimSpace(string(body)); got != instance {
		return fmt.Errorf("%s answers %d, but not as this instance", a.HTTP, res.StatusCode)
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", a.Native)
	if err != nil {
		return err
	}
	return conn.Close()
}

// reachable turns a listen host into one to connect to.
func reachable(host string) string {
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		if ip.To4() != nil {
			return "127.0.0.1"
		}
		return "::1"
	}
	return host
}
