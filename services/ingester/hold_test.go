package ingester

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event"
)

// notReady is true once /readyz would name what with the text.
func (r *rig) notReady(what, text string) bool {
	results, ready := r.health.Check(r.t.Context())
	for _, c := range results {
		if c.Name == what && c.Err != nil && strings.Contains(c.Err.Error(), text) {
			return !ready
		}
	}
	return false
}

func TestARequestIsHeldUntilNATSIsBack(t *testing.T) {
	n := startNATS(t)
	r := startRig(t, n, func(c *Config) { c.Hold = 30 * time.Second }).opened()
	r.post(good("u1", 1)).want(t, 200)
	n.stop()
	eventually(t, "not ready", func() bool { return r.notReady("nats", "not connected") })
	done := make(chan answer, 1)
	go func() {
		a, err := r.try(good("u1", 2))
		if err != nil {
			t.Error(err)
		}
		done <- a
	}()
	eventually(t, "a frame that is tried again", func() bool { return strings.Contains(r.log.String(), "requests are held") })
	n.start()
	a := <-done
	a.want(t, 200)
	eventually(t, "the reader is back", r.nc.IsConnected)
	if got := bodies(r.raw()); len(got) != 2 {
		t.Errorf("RAW has %v", got)
	}
	eventually(t, "ready again", func() bool { _, ready := r.health.Check(t.Context()); return ready })
	if !strings.Contains(r.log.String(), "acknowledged again") {
		t.Errorf("log:\n%s", r.log)
	}
}

func TestAfterTheHoldTimeTheSenderIsToldToComeAgain(t *testing.T) {
	n := startNATS(t)
	r := startRig(t, n, func(c *Config) { c.Hold = 300 * time.Millisecond }).opened()
	n.stop()
	a := r.post(good("u1", 1)).want(t, 503)
	if a.Problem.Code != "not_acknowledged" || a.Header.Get("Retry-After") != "1" {
		t.Errorf("%v %s", a.Header, a.Body)
	}
	eventually(t, "memory is given back", func() bool { return r.in.budget.used.Load() == 0 })
	n.start()
	eventually(t, "taken again", func() bool {
		a, err := r.try(good("u1", 1))
		return err == nil && a.Status == 200
	})
}

func TestARequestBeforeNATSIsThere(t *testing.T) {
	n := startNATS(t)
	n.stop()
	r := startRig(t, n, func(c *Config) { c.Hold = 200 * time.Millisecond })
	if a := r.post(good("u", 1)).want(t, 503); a.Problem.Code != "starting" || a.Header.Get("Retry-After") == "" {
		t.Errorf("%s", a.Body)
	}
	if !r.notReady("shards", "starting") {
		t.Error("ready without streams")
	}
	n.start()
	r.opened().post(good("u", 1)).want(t, 200)
}

func TestWithoutManagingItWaitsForTheStreams(t *testing.T) {
	n := startNATS(t)
	r := startRig(t, n, func(c *Config) { c.ManageStreams = false })
	eventually(t, "it waits", func() bool { return strings.Contains(r.log.String(), "reach NATS and the streams") })
	plan := bus.Plan{Shards: 2, Sizes: bus.Sizes{In: 1 << 20, Raw: 1 << 20, Enriched: 1 << 20, Dead: 1 << 20}, MaxIn: 4 << 20}
	if _, err := bus.Provision(t.Context(), r.js, r.names, plan); err != nil {
		t.Fatal(err)
	}
	r.opened().post(good("u", 1)).want(t, 200)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}

	in, err := r.js.Stream(t.Context(), r.names.StreamIn())
	if err != nil {
		t.Fatal(err)
	}
	any := in.CachedInfo().Config
	any.MaxMsgSize = -1
	if _, err := r.js.UpdateStream(t.Context(), any); err != nil {
		t.Fatal(err)
	}
	loose := startRig(t, n, func(c *Config) { c.ManageStreams = false })
	<-loose.in.stopping
	if err := loose.stop(); err == nil || !strings.Contains(err.Error(), "max_msg_size") {
		t.Errorf("run over an IN stream that takes anything: %v", err)
	}
	loose.stop = func() error { return nil }
}

// lossy is a TCP proxy before NATS that can swallow what the server says.
type lossy struct {
	addr string
	deaf atomic.Bool
	mu   sync.Mutex
	open []net.Conn
}

func startLossy(t *testing.T, to string) *lossy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &lossy{addr: l.Addr().String()}
	t.Cleanup(func() { l.Close(); p.cut() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				client.Close()
				continue
			}
			p.mu.Lock()
			p.open = append(p.open, client, server)
			p.mu.Unlock()
			go io.Copy(server, client)
			go func() {
				defer client.Close()
				buf := make([]byte, 64<<10)
				for {
					n, err := server.Read(buf)
					if err != nil {
						return
					}
					if p.deaf.Load() {
						continue
					}
					if _, err := client.Write(buf[:n]); err != nil {
						return
					}
				}
			}()
		}
	}()
	return p
}

// cut breaks all connections.
func (p *lossy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.open {
		c.Close()
	}
	p.open = nil
}

// TestALostAcknowledgementStoresOnce: the frame is in RAW, its acknowledgement
// is not heard, the frame is sent again and is still there once.
func TestALostAcknowledgementStoresOnce(t *testing.T) {
	for _, how := range []string{"connection cut", "silence"} {
		t.Run(how, func(t *testing.T) {
			n := startNATS(t)
			p := startLossy(t, strings.TrimPrefix(n.url(), "nats://"))
			r := startRig(t, n, func(c *Config) { c.Bus.URL = "nats://" + p.addr; c.Hold = 9 * time.Second }).opened()
			p.deaf.Store(true)
			done := make(chan answer, 1)
			go func() {
				a, err := r.try(good("u1", 1))
				if err != nil {
					t.Error(err)
				}
				done <- a
			}()
			eventually(t, "stored", func() bool { return len(r.raw()) == 1 })
			p.deaf.Store(false)
			if how == "connection cut" {
				p.cut()
			}
			a := <-done
			a.want(t, 200)
			rows := r.raw()
			if len(rows) != 1 || a.Receipt != receiptOf(rows) {
				t.Errorf("receipt %s, RAW %+v", a.Receipt, rows)
			}
			if got := counterValue(r.in.m.republished); got < 1 {
				t.Errorf("%v repetitions: the test did not lose the acknowledgement", got)
			}
		})
	}
}

// TestAShardWhoseLogWentBackIsClosed: RAW_0 is replaced by an empty one of the
// same incarnation, as after a restored backup.
func TestAShardWhoseLogWentBackIsClosed(t *testing.T) {
	n := startNATS(t)
	r := startRig(t, n).opened()
	user := func(shard int) string {
		for i := 0; ; i++ {
			if u := fmt.Sprint("u", i); event.ShardOf("shop", []byte(u), 2) == shard {
				return u
			}
		}
	}
	for i := range 3 {
		r.post(good(user(0), i)).want(t, 200)
	}
	s, err := r.js.Stream(t.Context(), r.names.StreamRaw(0))
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	// Nobody may delete it through NATS while DenyDelete holds, but the disk can.
	if err := r.js.DeleteStream(t.Context(), cfg.Name); err != nil {
		t.Fatal(err)
	}
	if _, err := r.js.CreateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	a := r.post(good(user(0), 9)).want(t, 503)
	if a.Problem.Code != "shard_closed" || a.Header.Get("Retry-After") == "" || !strings.Contains(a.Problem.Detail, "millrace recover") {
		t.Errorf("%s", a.Body)
	}
	if !strings.Contains(r.log.String(), "millrace recover") || !r.notReady("shards", "shard 0") {
		t.Errorf("neither log nor readiness say it:\n%s", r.log)
	}
	// It stays closed, also for a request that has a healthy shard too, and
	// the healthy one is not touched by it.
	before := len(r.raw())
	r.post("["+good(user(0), 10)+","+good(user(1), 10)+"]").want(t, 503)
	if got := len(r.raw()); got != before {
		t.Errorf("%d rows more", got-before)
	}
	r.post(good(user(1), 11)).want(t, 200)
}

func TestATakenPortIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := startRig(t, startNATS(t))
	cfg := r.in.cfg
	cfg.Addr, cfg.Listener = l.Addr().String(), nil
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("new: %v", err)
	}
}

// The client library repeats a publish that found no stream by itself, 250 ms
// later. By then the frame's memory may hold another frame.
func TestAFrameThatWasGivenUpIsNotPublishedLater(t *testing.T) {
	n := startNATS(t)
	r := startRig(t, n, func(c *Config) { c.Hold = 100 * time.Millisecond; c.Plan.Shards = 1 }).opened()
	if err := r.js.DeleteStream(t.Context(), r.names.StreamRaw(0)); err != nil {
		t.Fatal(err)
	}
	r.post(good("u1", 1)).want(t, 503)
	sub, err := r.nc.SubscribeSync(r.names.Raw(0))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if msg, err := sub.NextMsg(700 * time.Millisecond); err == nil {
		t.Errorf("%d bytes were published after the sender had been told to come again", len(msg.Data))
	}
}
