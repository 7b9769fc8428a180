package proxy_test

import (
	"bytes"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/libs/testkit/proxy"
)

func TestEndsPassAsTheyAre(t *testing.T) {
	r := start(t)
	r.send(r.client, "ask")
	_ = r.client.CloseWrite()
	r.reads(r.server, "ask")
	r.ends(r.server)
	r.send(r.server, "answer after the half close")
	r.reads(r.client, "answer after the half close")
	_ = r.server.Close()
	r.ends(r.client)

	client, server := r.dial()
	_ = client.SetLinger(0)
	_ = client.Close()
	r.broken(server)
}

func TestCutAndHeal(t *testing.T) {
	r := start(t)
	r.Cut()
	r.broken(r.client)
	r.broken(r.server)
	hungUp, err := net.Dial("tcp", r.Addr())
	if err == nil {
		r.broken(hungUp)
		_ = hungUp.Close()
	}
	r.Heal()
	client, server := r.dial()
	r.send(client, "back")
	r.reads(server, "back")
	if s := r.Stats(); s.Accepted != 2 || s.Reset != 1 || s.Refused != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestRefuseLeavesOpenConnections(t *testing.T) {
	r := start(t)
	r.Refuse(true)
	c, err := net.Dial("tcp", r.Addr())
	if err == nil {
		r.broken(c)
		_ = c.Close()
	}
	r.send(r.client, "here")
	r.reads(r.server, "here")
}

func TestStallHoldsBytesAndEnds(t *testing.T) {
	r := start(t)
	r.Stall()
	r.send(r.client, "request")
	r.send(r.server, "news")
	_ = r.client.CloseWrite()
	r.silent(r.server)
	r.silent(r.client)
	r.Heal()
	r.reads(r.server, "request")
	r.ends(r.server)
	r.reads(r.client, "news")
}

func TestOneWayStall(t *testing.T) {
	r := start(t)
	r.Set(proxy.Down, proxy.Fault{Stall: true})
	r.send(r.client, "request")
	r.reads(r.server, "request")
	r.send(r.server, "reply")
	r.silent(r.client)
	r.Set(proxy.Down, proxy.Fault{})
	r.reads(r.client, "reply")
}

// A client that gives up while the network is away leaves bytes behind that
// arrive when it is back: the server must get them all, then the end.
func TestStalledBytesOutliveTheirClient(t *testing.T) {
	r := start(t)
	r.Set(proxy.Up, proxy.Fault{Stall: true})
	text := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
	r.send(r.client, string(text))
	_ = r.client.Close()
	r.silent(r.server)
	r.Heal()
	for range 3 {
		r.send(r.server, "to nobody") // the client's side answers with a reset
	}
	_ = r.server.SetReadDeadline(time.Now().Add(30 * time.Second))
	got, err := io.ReadAll(r.server)
	if err != nil || !bytes.Equal(got, text) {
		t.Fatalf("%d of %d bytes, %v", len(got), len(text), err)
	}
}

func TestVanishedBytesNeverArrive(t *testing.T) {
	r := start(t)
	quiet, quietServer := r.dial()
	r.Set(proxy.Up, proxy.Fault{Vanish: true})
	r.send(r.client, "lost")
	r.silent(r.server)
	r.send(r.server, "still heard")
	r.reads(r.client, "still heard")
	r.Set(proxy.Up, proxy.Fault{})
	r.broken(r.client) // its stream has a hole
	r.broken(r.server)
	r.send(quiet, "whole")
	r.reads(quietServer, "whole")
}

// The end of a client that died behind a one-way cut must not be heard either.
func TestVanishedEndIsNotHeard(t *testing.T) {
	r := start(t)
	r.Set(proxy.Up, proxy.Fault{Vanish: true})
	_ = r.client.Close()
	r.silent(r.server)
	r.Heal()
	r.broken(r.server)
}

func TestHalfClose(t *testing.T) {
	r := start(t)
	r.HalfClose(proxy.Up)
	r.ends(r.server)
	r.send(r.client, "into the void")
	r.send(r.server, "the other way")
	r.reads(r.client, "the other way")
	r.Heal()
	r.broken(r.client)
}

func TestDelayIsOfEachByteAndCanBeLifted(t *testing.T) {
	r := start(t)
	const late = 200 * time.Millisecond
	r.Set(proxy.Up, proxy.Fault{Delay: late, Jitter: late / 2})
	begin := time.Now()
	for range 10 {
		r.send(r.client, "x")
	}
	for range 10 {
		r.reads(r.server, "x")
	}
	if took := time.Since(begin); took < late {
		t.Errorf("arrived after %s", took)
	}
	r.Set(proxy.Up, proxy.Fault{Delay: time.Hour})
	r.send(r.client, "waits")
	r.silent(r.server)
	r.Heal()
	r.reads(r.server, "waits")
}

func TestRate(t *testing.T) {
	r := start(t)
	r.Set(proxy.Down, proxy.Fault{Rate: 100_000})
	begin := time.Now()
	text := strings.Repeat("r", 30_000)
	r.send(r.server, text)
	r.reads(r.client, text)
	if took := time.Since(begin); took < 250*time.Millisecond {
		t.Errorf("30 KB at 100 KB/s in %s", took)
	}
}

func TestUpstreamMovesAndComesLate(t *testing.T) {
	r := start(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	r.SetUpstream(ln.Addr().String())
	c, err := net.Dial("tcp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r.send(c, "moved")
	r.reads(s, "moved")
	r.send(r.client, "where it was")
	r.reads(r.server, "where it was")
}

// BenchmarkPassing is a stream through the proxy without a fault; the same
// without the proxy is what the machine's loopback does.
func BenchmarkPassing(b *testing.B) {
	for _, through := range []bool{false, true} {
		b.Run(map[bool]string{false: "direct", true: "proxy"}[through], func(b *testing.B) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer ln.Close()
			p, err := proxy.Start(ln.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			defer p.Close()
			addr := ln.Addr().String()
			if through {
				addr = p.Addr()
			}
			c, err := net.Dial("tcp", addr)
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			s, err := ln.Accept()
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			chunk := make([]byte, 256<<10)
			b.SetBytes(int64(len(chunk)))
			go func() {
				for {
					if _, err := c.Write(chunk); err != nil {
						return
					}
				}
			}()
			got := make([]byte, len(chunk))
			for b.Loop() {
				if _, err := io.ReadFull(s, got); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestCloseUnderAStall(t *testing.T) {
	r := start(t)
	r.Stall()
	r.send(r.client, "x")
	r.Close()
	r.broken(r.client)
}

// Bytes never change, move or double while faults that lose none come and go
// under a connection that is busy in both directions.
func TestBytesStayWholeWhileFaultsComeAndGo(t *testing.T) {
	r := start(t)
	const size = 64 << 20
	var wg sync.WaitGroup
	for _, way := range [][2]*net.TCPConn{{r.client, r.server}, {r.server, r.client}} {
		sent, got := sha256.New(), sha256.New()
		wg.Go(func() {
			chunk := make([]byte, 100_003)
			src := rand.NewChaCha8([32]byte{1})
			for n := 0; n < size; n += len(chunk) {
				_, _ = src.Read(chunk)
				_, _ = sent.Write(chunk)
				if _, err := way[0].Write(chunk); err != nil {
					t.Errorf("write: %v", err)
					return
				}
			}
			_ = way[0].CloseWrite()
		})
		defer func() {
			if !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
				t.Error("the bytes changed on the way")
			}
		}()
		wg.Go(func() {
			if n, err := io.Copy(got, way[1]); err != nil || n < size {
				t.Errorf("read %d: %v", n, err)
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	faults := []proxy.Fault{{}, {Stall: true}, {Delay: time.Millisecond, Jitter: time.Millisecond}, {Rate: 1 << 30}, {}}
	for i := 0; ; i++ {
		select {
		case <-done:
			return
		case <-time.After(2 * time.Millisecond):
			r.Set(proxy.Direction(i%2), faults[rand.IntN(len(faults))])
			r.LoseReplies(i%2, proxy.Match{Has: "a text of which nobody thinks"})
			if i%16 == 0 {
				r.Heal()
			}
		}
	}
}
