package proxy

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// Stats counts what happened since the start.
type Stats struct {
	Accepted    int // connections, refused ones not among them
	Refused     int // connections that were hung up on, also because upstream was away
	Reset       int // connections that Reset, Cut or a hole in a stream ended
	LostReplies int
	Inside      int // matches of CutInside and StallInside
}

// Proxy is a listener and the connections through it. Its methods may be
// called from any goroutine.
type Proxy struct {
	ln     net.Listener
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex
	upstream string
	refuse   bool
	faults   [2]Fault
	lose     *trap    // replies to lose; nil without
	inside   [2]*trap // matches to cut or stall in, by direction
	changed  chan struct{}
	links    map[*link]struct{}
	stats    Stats
}

// Start listens on a free port of 127.0.0.1 and passes each connection on to
// upstream, a host:port. Upstream may start later.
func Start(upstream string) (*Proxy, error) {
	if _, _, err := net.SplitHostPort(upstream); err != nil {
		return nil, fmt.Errorf("proxy: upstream is not host:port: %w", err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	p := &Proxy{ln: ln, upstream: upstream, changed: make(chan struct{}), links: map[*link]struct{}{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.wg.Go(p.accept)
	return p, nil
}

// Addr is where the proxy listens, host:port.
func (p *Proxy) Addr() string { return p.ln.Addr().String() }

// Close resets all connections, stops listening, and returns when nothing of
// the proxy is left.
func (p *Proxy) Close() {
	p.cancel()
	_ = p.ln.Close() // the port is free in any case
	p.Reset()
	p.wg.Wait()
}

// SetUpstream is where new connections go: a server that came back on another
// port.
func (p *Proxy) SetUpstream(upstream string) {
	p.change(func() { p.upstream = upstream })
}

// Set sets the fault of a direction; the zero Fault lifts it.
func (p *Proxy) Set(d Direction, f Fault) {
	p.change(func() {
		for l := range p.links {
			l.pipes[d].held = false
			if l.pipes[d].torn && !f.Vanish {
				p.reset(l)
			}
		}
		p.faults[d] = f
	})
}

// Stall holds back everything in both directions until Set or Heal. New
// connections are made and stay silent.
func (p *Proxy) Stall() {
	p.Set(Up, Fault{Stall: true})
	p.Set(Down, Fault{Stall: true})
}

// Refuse hangs up on new connections, or lets them in again. Those that are
// open stay.
func (p *Proxy) Refuse(on bool) { p.change(func() { p.refuse = on }) }

// Reset ends all open connections with a TCP reset to both sides.
func (p *Proxy) Reset() {
	p.change(func() {
		for l := range p.links {
			p.reset(l)
		}
	})
}

// reset ends a link and counts it; the lock is held.
func (p *Proxy) reset(l *link) {
	if !l.ended() {
		p.stats.Reset++
	}
	l.abort()
}

// Cut is a network that is gone: it resets open connections and refuses new
// ones until Heal or Refuse(false).
func (p *Proxy) Cut() {
	p.Refuse(true)
	p.Reset()
}

// HalfClose ends one direction of all open connections: its receiver reads the
// end, what is sent later vanishes, the other direction flows on.
func (p *Proxy) HalfClose(d Direction) {
	p.change(func() {
		for l := range p.links {
			l.pipes[d].shut = true
			_ = l.pipes[d].dst.CloseWrite() // it may be closed already
		}
	})
}

// LoseReplies makes the next n replies vanish. Once the match is complete in
// what a client sends, everything that comes back on that connection is thrown
// away, and the client's side is reset when it has been silent for 50 ms after
// the first bytes came back (after 2 s if it never is). What it sent still
// reaches upstream, followed by an orderly end. 0 disarms.
//
// Where a client waits for a first answer before it sends the rest, as for a
// table's columns in ClickHouse's native protocol, the Match must be in the
// rest: testkit.InsertedRows is.
func (p *Proxy) LoseReplies(n int, m Match) {
	p.change(func() { p.lose = newTrap(n, m) })
}

// CutInside cuts the connection in the middle of the next n matches: what
// belongs to the match arrives, followed by the end of the connection; the
// sender's side is reset. 0 disarms.
func (p *Proxy) CutInside(d Direction, n int, m Match) {
	p.change(func() { p.inside[d] = newTrap(n, m) })
}

// StallInside holds a direction of a connection back from the middle of the
// next n matches on, until Heal or Set of that direction. What belongs to the
// match has arrived; the rest arrives then, also of a client that has given up
// meanwhile: the insert of a dead process. It takes the place of a CutInside of
// the same direction. 0 disarms.
func (p *Proxy) StallInside(d Direction, n int, m Match) {
	p.change(func() {
		if p.inside[d] = newTrap(n, m); p.inside[d] != nil {
			p.inside[d].hold = true
		}
	})
}

func newTrap(n int, m Match) *trap {
	if n <= 0 {
		return nil
	}
	return &trap{match: m, left: n}
}

// Heal lifts every fault and disarms what has not struck. Connections that lost bytes are reset, and so are
// half-closed ones; all others live on.
func (p *Proxy) Heal() {
	p.change(func() {
		for l := range p.links {
			l.pipes[Up].held, l.pipes[Down].held = false, false
			if l.pipes[Up].torn || l.pipes[Down].torn || l.pipes[Up].shut || l.pipes[Down].shut {
				p.reset(l)
			}
		}
		p.refuse, p.faults, p.lose, p.inside = false, [2]Fault{}, nil, [2]*trap{}
	})
}

// Stats is what happened so far.
func (p *Proxy) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

// change changes the state and wakes what waits under the old one.
func (p *Proxy) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	p.wake()
}

func (p *Proxy) wake() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// clear says whether nothing is wrong. The lock is held.
func (p *Proxy) clear() bool {
	return p.faults == [2]Fault{} && p.lose == nil && p.inside == [2]*trap{}
}

func (p *Proxy) accept() {
	for {
		conn, err := p.ln.Accept()
		if p.ctx.Err() != nil {
			if err == nil {
				_ = conn.Close() // it came while the proxy closed
			}
			return
		}
		if err != nil {
			select { // out of file descriptors: some will be free
			case <-time.After(10 * time.Millisecond):
			case <-p.ctx.Done():
			}
			continue
		}
		p.wg.Go(func() { p.serve(conn.(*net.TCPConn)) })
	}
}

// serve is the life of one connection.
func (p *Proxy) serve(client *net.TCPConn) {
	p.mu.Lock()
	upstream, refuse := p.upstream, p.refuse
	p.mu.Unlock()
	var server net.Conn
	var err error
	if !refuse {
		server, err = (&net.Dialer{Timeout: 10 * time.Second}).DialContext(p.ctx, "tcp", upstream)
	}
	p.mu.Lock()
	if refuse || err != nil || p.refuse || p.ctx.Err() != nil {
		p.stats.Refused++
		p.mu.Unlock()
		reset(client)
		if server != nil {
			reset(server.(*net.TCPConn))
		}
		return
	}
	l := newLink(p, client, server.(*net.TCPConn))
	p.links[l] = struct{}{}
	p.stats.Accepted++
	p.mu.Unlock()

	l.run()

	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

// reset closes with a TCP reset in place of an orderly end.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0) // fails only on a closed one
	_ = c.Close()      // nothing is expected of it any more
}
