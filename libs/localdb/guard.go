package localdb

import (
	"bufio"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// The guard stands before libchdb's native port, in the child:
//
//	client -> guard (the port that was asked for) -> libchdb (a port of its own on loopback)
//
// libchdb ends the whole process when an exception leaves a native connection: a handshake that fails in any way, and a
// connection that is reset while it waits for the next query. Both happen in normal life (a wrong password, a port scan,
// a client that is killed). So the guard reads the client's greeting itself and lets only those through that will be
// accepted; it finishes a handshake that the client does not finish; and it turns every kind of end of a client into a
// plain end of stream. After the handshake bytes are only passed on (by splice on Linux, so they are not copied).
type guard struct {
	backend string                       // host:port
	users   map[string][sha256.Size]byte // of passwords
	dbs     map[string]bool

	mu     sync.Mutex
	open   map[net.Conn]struct{} // clients; guarded by mu
	closed bool                  // guarded by mu
}

// helloTimeout bounds a handshake, so that silent clients do not pile up.
const helloTimeout = 10 * time.Second

func newGuard(backend string, hashes map[string]string) *guard {
	g := &guard{
		backend: backend, users: map[string][sha256.Size]byte{}, open: map[net.Conn]struct{}{},
		dbs: map[string]bool{"": true, "default": true, "system": true, Database: true},
	}
	for name, text := range hashes {
		var sum [sha256.Size]byte
		if n, err := hex.Decode(sum[:], []byte(text)); err == nil && n == len(sum) {
			g.users[name] = sum
		}
	}
	return g
}

// serve ends when the listener is closed.
func (g *guard) serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Out of file descriptors, most likely: the clients wait in the backlog.
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if !g.admit(c) {
			_ = c.Close()
			continue
		}
		// Ends with the client's or the engine's end of the connection.
		go func() {
			defer g.dismiss(c)
			g.pass(c)
		}()
	}
}

func (g *guard) admit(c net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.open[c] = struct{}{}
	return true
}

func (g *guard) dismiss(c net.Conn) {
	_ = c.Close()
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.open, c)
}

// close sends every client away, so that the engine need not wait for them.
func (g *guard) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for c := range g.open {
		_ = c.Close()
	}
}

// pass carries one connection.
func (g *guard) pass(client net.Conn) {
	if err := client.SetReadDeadline(time.Now().Add(helloTimeout)); err != nil {
		return
	}
	in := &recorder{r: bufio.NewReader(client)}
	h, err := readHello(in)
	if err != nil {
		return
	}
	if code, text := g.refuse(h); code != 0 {
		_, _ = client.Write(exceptionPacket(code, text)) // it is told, or gone
		return
	}
	engine, err := net.Dial("tcp", g.backend)
	if err != nil {
		return
	}
	defer func() { _ = engine.Close() }()
	if _, err := engine.Write(in.taken); err != nil {
		return
	}

	// The engine's hello is passed on as it comes; only its revision is of interest: it says what the addendum holds.
	out := &recorder{r: bufio.NewReader(engine)}
	revision, accepted, err := readServerHello(out)
	if err != nil {
		return
	}
	var down sync.WaitGroup
	down.Go(func() {
		sendDown(client, engine, out)
		_ = client.Close()
	})
	if accepted {
		sendUp(engine, client, in, min(revision, h.revision))
	}
	// Whatever ended the client, the engine sees an end of stream, and nothing of what it still says is left unread.
	_ = engine.(*net.TCPConn).CloseWrite()
	down.Wait()
}

// sendDown passes on what the engine says until it ends the connection, to nobody if need be.
func sendDown(client, engine net.Conn, out *recorder) {
	_, err := client.Write(out.taken)
	if err == nil {
		_, err = io.CopyN(client, out.r, int64(out.r.Buffered()))
	}
	if err == nil {
		_, err = io.Copy(client, engine)
	}
	if err != nil {
		_ = client.Close()
		_, _ = io.Copy(io.Discard, engine)
	}
}

// sendUp passes on what the client says until it ends or is gone. The engine gets a whole addendum in any case.
func sendUp(engine, client net.Conn, in *recorder, revision uint64) {
	in.taken = in.taken[:0]
	err := readAddendum(in, revision)
	if err == nil {
		err = client.SetReadDeadline(time.Time{})
	}
	if err != nil {
		_, _ = engine.Write(addendum(revision))
		return
	}
	if _, err := engine.Write(in.taken); err != nil {
		return
	}
	if _, err := io.CopyN(engine, in.r, int64(in.r.Buffered())); err != nil {
		return
	}
	_, _ = io.Copy(engine, client) // its end is all there is to know
}

func (g *guard) refuse(h hello) (code uint32, text string) {
	want, known := g.users[h.user]
	sum := sha256.Sum256([]byte(h.password))
	if subtle.ConstantTimeCompare(sum[:], want[:]) != 1 || !known {
		return codeAuthentication, h.user + ": Authentication failed: password is incorrect, or there is no user with such name"
	}
	if !g.dbs[h.database] {
		return codeUnknownDatabase, "Database " + h.database + " does not exist"
	}
	return 0, ""
}
