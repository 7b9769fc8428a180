package localdb

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

func helloPacket(revision uint64, database, user, password string) []byte {
	b := appendText([]byte{packetHello}, "guard test")
	for _, n := range []uint64{1, 1, revision} {
		b = binary.AppendUvarint(b, n)
	}
	for _, s := range []string{database, user, password} {
		b = appendText(b, s)
	}
	return b
}

// native is a client that can be as rude as a test wants.
type native struct {
	*net.TCPConn
	t *testing.T
	r *recorder
}

func dialNative(t *testing.T, s *Server) *native {
	t.Helper()
	c, err := net.Dial("tcp", s.Addrs().Native)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return &native{c.(*net.TCPConn), t, &recorder{r: bufio.NewReader(c)}}
}

func (n *native) send(b []byte) {
	n.t.Helper()
	if _, err := n.Write(b); err != nil {
		n.t.Fatal(err)
	}
}

// greet sends a hello and returns the revision that both speak.
func (n *native) greet(revision uint64, database, user, password string) uint64 {
	n.t.Helper()
	n.send(helloPacket(revision, database, user, password))
	server, ok, err := readServerHello(n.r)
	if err != nil || !ok {
		n.t.Fatalf("server hello: %v, %v", ok, err)
	}
	return min(server, revision)
}

func (n *native) reset() {
	n.t.Helper()
	if err := n.SetLinger(0); err != nil {
		n.t.Fatal(err)
	}
	_ = n.Close()
}

// ended waits until the other side has closed.
func (n *native) ended() []byte {
	n.t.Helper()
	b, err := io.ReadAll(n.r.r)
	if err != nil && !strings.Contains(err.Error(), "reset") {
		n.t.Fatalf("wait for the end: %v", err)
	}
	return b
}

// Whatever a client does on the native port, the engine lives on. Without the guard libchdb aborts at most of these.
func TestRudeClients(t *testing.T) {
	cfg := testConfig(t)
	s := start(t, cfg)
	makeTable(t, s, cfg.Passwords)
	const old = revisionQuotaKey + 2
	reader := cfg.Passwords.Reader
	pid := s.Pid()
	for name, rude := range map[string]func(n *native){
		"says nothing": func(n *native) { _ = n.Close() },
		"wrong password": func(n *native) {
			n.send(helloPacket(old, Database, ReaderUser, "wrong"))
			if got := n.ended(); len(got) < 5 || got[0] != packetException || binary.LittleEndian.Uint32(got[1:]) != codeAuthentication {
				t.Errorf("answer %q", got)
			}
		},
		"empty password": func(n *native) { n.send(helloPacket(old, Database, ReaderUser, "")); n.ended() },
		"unknown user":   func(n *native) { n.send(helloPacket(old, Database, "x", reader)); n.ended() },
		"default user":   func(n *native) { n.send(helloPacket(old, "", "default", "")); n.ended() },
		"unknown database": func(n *native) {
			n.send(helloPacket(old, "nosuch", ReaderUser, reader))
			if got := n.ended(); len(got) < 5 || got[0] != packetException || binary.LittleEndian.Uint32(got[1:]) != codeUnknownDatabase {
				t.Errorf("answer %q", got)
			}
		},
		"system database": func(n *native) { n.greet(old, "system", ReaderUser, reader); _ = n.Close() },
		"TLS": func(n *native) {
			n.send([]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaaaaaaaaaaa"))
			n.ended()
		},
		"HTTP":         func(n *native) { n.send([]byte("GET / HTTP/1.1\r\n\r\n")); n.ended() },
		"huge name":    func(n *native) { n.send(binary.AppendUvarint([]byte{packetHello}, 1<<40)); n.ended() },
		"half a hello": func(n *native) { n.send(helloPacket(old, Database, ReaderUser, reader)[:9]); _ = n.Close() },
		"half a hello, reset": func(n *native) {
			n.send(helloPacket(old, Database, ReaderUser, reader)[:9])
			n.reset()
		},
		"hello, gone":  func(n *native) { n.send(helloPacket(old, Database, ReaderUser, reader)); _ = n.Close() },
		"hello, reset": func(n *native) { n.send(helloPacket(old, Database, ReaderUser, reader)); n.reset() },
		"no addendum":  func(n *native) { n.greet(old, Database, ReaderUser, reader); _ = n.Close() },
		"no addendum, new revision, reset": func(n *native) {
			n.greet(1<<20, Database, ReaderUser, reader)
			n.reset()
		},
		"reset while idle": func(n *native) {
			n.send(addendum(n.greet(old, Database, ReaderUser, reader)))
			n.ping()
			n.reset()
		},
		"end while idle": func(n *native) {
			n.send(addendum(n.greet(old, Database, ReaderUser, reader)))
			n.ping()
			_ = n.Close()
		},
		"bytes after the handshake, reset": func(n *native) {
			n.send(addendum(n.greet(old, Database, ReaderUser, reader)))
			n.send([]byte{2}) // a data packet that never comes
			n.reset()
		},
	} {
		rude(dialNative(t, s))
		// A well-behaved client, old or new, is served right after.
		for _, revision := range []uint64{old, revisionParallelReplicas} {
			n := dialNative(t, s)
			n.send(addendum(n.greet(revision, Database, ReaderUser, reader)))
			n.ping()
			_ = n.Close()
		}
		wantRows(t, s, cfg.Passwords)
		select {
		case <-s.Done():
			t.Fatalf("%s: the engine died: %v", name, s.Err())
		default:
		}
	}
	if s.Pid() != pid {
		t.Fatalf("process id is %d, was %d", s.Pid(), pid)
	}
	// An engine that aborts logs first and dies seconds later.
	if text, err := os.ReadFile(s.LogFile()); err == nil && strings.Contains(string(text), "<Fatal>") {
		t.Fatalf("the engine is about to die: %s", text)
	}
}

func (n *native) ping() {
	n.t.Helper()
	const ping, pong = 4, 4
	n.send([]byte{ping})
	for {
		b, err := n.r.ReadByte() // the rest of the server's hello comes first
		if err != nil {
			n.t.Fatalf("no answer to a ping: %v", err)
		}
		if b == pong && n.r.r.Buffered() == 0 {
			return
		}
	}
}

func TestStopDoesNotWaitForIdleClients(t *testing.T) {
	cfg := testConfig(t)
	s := start(t, cfg)
	n := dialNative(t, s)
	n.send(addendum(n.greet(revisionQuotaKey, Database, ReaderUser, cfg.Passwords.Reader)))
	n.ping()
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.ended()
}
