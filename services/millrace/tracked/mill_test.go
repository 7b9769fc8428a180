package tracked

import (
	"context"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/localdb"
	"github.com/millrace/millrace/libs/svc"
	"github.com/millrace/millrace/libs/testkit"
	"github.com/millrace/millrace/libs/track"
	"github.com/millrace/millrace/services/enricher"
	"github.com/millrace/millrace/services/indexer"
	"github.com/millrace/millrace/services/ingester"
)

const shop = "shop"

// mill is the way from NATS to ClickHouse: real servers, and services in this process.
type mill struct {
	*testing.T
	nats *testkit.NATS
	db   *testkit.ClickHouse
}

func newMill(t *testing.T) *mill {
	t.Helper()
	m := &mill{T: t, nats: testkit.StartNATS(t), db: testkit.StartClickHouse(t)}
	m.nats.Provision(m.nats.Connect(), 2)
	conn, log := bus.Config{URL: m.nats.URL}, slog.New(slog.DiscardHandler)
	in, err := ingester.New(ingester.Config{Bus: conn, Addr: "127.0.0.1:0", Log: log, Reg: prometheus.NewRegistry(), Health: svc.NewHealth()})
	m.run(in, err)
	e, err := enricher.New(enricher.Config{Bus: conn, LeaseTTL: 2 * time.Second, Log: log, Reg: prometheus.NewRegistry(), Health: svc.NewHealth()})
	m.run(e, err)
	x, err := indexer.New(indexer.Config{Bus: conn, DB: m.db.Config(localdb.WriterUser), LeaseTTL: 2 * time.Second, Log: log, Reg: prometheus.NewRegistry(), Health: svc.NewHealth()})
	m.run(x, err)
	return m
}

// run runs a service until the test ends.
func (m *mill) run(s svc.Service, err error) {
	m.Helper()
	m.must(err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(m.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	m.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			m.Error(err)
		}
	})
}

func (m *mill) must(err error) {
	m.Helper()
	if err != nil {
		m.Fatal(err)
	}
}

// connect opens a connection as docs/track.md says.
func connect(t testing.TB, url string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, append([]nats.Option{nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true), nats.ReconnectWait(50 * time.Millisecond)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// client is one of the source shop.
func client(t testing.TB, nc *nats.Conn, opts ...track.Option) *track.Client {
	t.Helper()
	c, err := track.New(nc, shop, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// end closes a client in time, and looks for what it has left running.
func end(t testing.TB, c *track.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	if err := c.Close(ctx); err != nil {
		t.Errorf("%v; %+v", err, c.Stats())
	}
	// Eventually, as a goroutine that has said its last may not have left yet.
	testkit.Eventually(t, "a closed client has no goroutine", func() bool {
		stacks := make([]byte, 1<<20)
		return !strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "libs/track.(*")
	})
}

// counted waits until so many events are in ClickHouse, and fails the test if any is there twice or is a dead letter.
func (m *mill) counted(want uint64) {
	m.Helper()
	testkit.Eventually(m, "all is in ClickHouse", func() bool { return m.db.Count("SELECT uniqExact(event_id) FROM events") >= want })
	for what, sql := range map[string]string{"rows": "SELECT count() FROM events", "ids": "SELECT uniqExact(event_id) FROM events"} {
		if n := m.db.Count(sql); n != want {
			m.Errorf("there are %d %s, want %d", n, what, want)
		}
	}
	if n := m.db.Count("SELECT count() FROM dead_letters"); n != 0 {
		m.Errorf("%d events were refused", n)
	}
}

// failures collects what OnError is given.
type failures struct {
	mu   sync.Mutex // guards all
	all  []error
	last []byte
}

func (f *failures) add(event []byte, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all, f.last = append(f.all, err), event
}

func (f *failures) none(t testing.TB) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.all) > 0 {
		t.Errorf("%d events are reported, the first: %v", len(f.all), f.all[0])
	}
}
