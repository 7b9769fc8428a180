package testkit

import (
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/testkit/ports"
	"github.com/millrace/millrace/libs/testkit/proxy"
)

// NATS is a JetStream server of one test.
type NATS struct {
	URL    string
	Server *server.Server // the one that runs now; Start replaces it

	t    testing.TB
	opts server.Options
}

// StartNATS starts a server on a free port and stops it when the test ends.
// change may alter its options before the start.
func StartNATS(t testing.TB, change ...func(*server.Options)) *NATS {
	t.Helper()
	port, err := ports.Free() // one that nobody takes while the server is stopped
	if err != nil {
		t.Fatal(err)
	}
	n := &NATS{t: t, opts: server.Options{
		Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: t.TempDir(),
		NoSigs: true, NoLog: true, MaxPayload: 8 << 20,
	}}
	for _, f := range change {
		f(&n.opts)
	}
	n.Start()
	n.URL = n.Server.ClientURL()
	t.Cleanup(n.Stop)
	return n
}

// Start starts the server again on the same files and port.
func (n *NATS) Start() {
	n.t.Helper()
	opts := n.opts
	s, err := server.NewServer(&opts)
	if err != nil {
		n.t.Fatalf("nats server: %v", err)
	}
	go s.Start()
	if !s.ReadyForConnections(30 * time.Second) {
		n.t.Fatal("nats server: not ready after 30 s")
	}
	n.Server = s
}

// Stop ends the server; its files stay until the test ends.
func (n *NATS) Stop() {
	n.Server.Shutdown()
	n.Server.WaitForShutdown()
}

// Connect opens a connection as the services do, through a proxy if one is
// given; it ends with the test.
func (n *NATS) Connect(through ...*proxy.Proxy) jetstream.JetStream {
	n.t.Helper()
	cfg := bus.Config{URL: n.URL}
	if len(through) > 0 {
		cfg.URL = "nats://" + through[0].Addr()
	}
	nc, js, err := cfg.Connect("testkit", slog.New(slog.DiscardHandler))
	if err != nil {
		n.t.Fatalf("connect: %v", err)
	}
	n.t.Cleanup(nc.Close)
	return js
}

// Provision creates Millrace's streams, small ones, for one sink unless a
// number of them is given.
func (n *NATS) Provision(js jetstream.JetStream, shards int, sinks ...int) bus.Installation {
	n.t.Helper()
	some := bus.DefaultSinks
	if len(sinks) > 0 {
		some = sinks[0]
	}
	inst, err := bus.Provision(n.t.Context(), js, bus.Names{Prefix: bus.DefaultPrefix}, bus.Plan{
		Shards: shards, Sinks: some,
		Sizes: bus.Sizes{In: 64 << 20, Raw: 64 << 20, Enriched: 64 << 20, Dead: 64 << 20},
		MaxIn: 4 << 20,
	})
	if err != nil {
		n.t.Fatalf("provision: %v", err)
	}
	return inst
}
