package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/eventdb"
	"github.com/millrace/millrace/libs/localdb"
	"github.com/millrace/millrace/libs/testkit/ports"
	"github.com/millrace/millrace/libs/testkit/proxy"
)

const (
	writeKey = "chaos-key"
	source   = "chaos"
	// leaseTTL is shorter than the default, so that a minute holds many
	// takeovers.
	leaseTTL = 3 * time.Second
	each     = 2 // processes of every service
	// insertTimeout is after which an indexer gives an insert up.
	insertTimeout = 10 * time.Second
	shardCount    = bus.DefaultShards
	// Two sinks, so that each of two indexers has one that can be taken from it.
	sinkCount = 2
)

// order is the one in which services are started; any would do.
var order = []string{"query", "indexer", "enricher", "ingester"}

// mill is a whole Millrace.
type mill struct {
	dir, bin string
	rawSize  string
	small    bool // the streams and the tables are on disks of their own
	clock    string

	natsPort int
	nats     *process
	db       *database
	services map[string][each]*process
	doors    [each]string // addresses of the ingesters' proxies
	queries  [each]string // addresses of the query services

	mu    sync.Mutex // guards wires
	wires map[string]*proxy.Proxy
}

func (m *mill) natsDir() string { return filepath.Join(m.dir, "nats") }
func (m *mill) dbDir() string   { return filepath.Join(m.dir, "clickhouse") }

// newMill prepares directories and ports; start starts it.
func newMill(dir, bin string, small bool) (*mill, error) {
	m := &mill{
		dir: dir, bin: bin, rawSize: "256MiB", small: small, clock: filepath.Join(dir, "clock"),
		services: map[string][each]*process{}, wires: map[string]*proxy.Proxy{},
	}
	for _, d := range []string{m.natsDir(), m.dbDir()} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
		if !small {
			continue
		}
		if err := mount(d); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(m.clock, []byte("0s"), 0o600); err != nil {
		return nil, err
	}
	var err error
	m.natsPort, err = ports.Free()
	return m, err
}

// start starts everything and creates the tables. The table refuses rows whose
// property poison is set: a user's own constraint.
func (m *mill) start(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(m.dir, "localdb.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := m.prepare(ctx, log); err != nil {
		return err
	}
	if err := m.startNATS(); err != nil {
		return err
	}
	for _, name := range order {
		if err := m.startService(name); err != nil {
			return err
		}
	}
	return nil
}

// prepare starts ClickHouse and creates the tables.
func (m *mill) prepare(ctx context.Context, log *os.File) error {
	db, err := newDatabase(filepath.Join(m.dbDir(), "data"), log)
	if err != nil {
		return err
	}
	m.db = db
	if err := m.db.start(ctx); err != nil {
		return err
	}
	// On a machine with much to do it was seen to wait for an answer for five
	// minutes. All of it can be repeated.
	err = again(ctx, 2*time.Minute, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		_, err := eventdb.Migrate(ctx, m.db.config(localdb.MigratorUser), eventdb.MigrateOptions{})
		return err
	})
	if err != nil {
		return err
	}
	return m.db.exec(ctx,
		"ALTER TABLE events ADD CONSTRAINT chaos CHECK properties['poison'] = ''",
		"ALTER TABLE events ADD PROJECTION chaos (SELECT event, user_id, count(), sum(_idx), sum(_seq) GROUP BY event, user_id)")
}

func (m *mill) startNATS() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	m.nats, err = launch(m.dir, "nats", self, []string{envNATSDir + "=" + m.natsDir(), envNATSPort + "=" + strconv.Itoa(m.natsPort)})
	return err
}

// wire is the proxy of a connection, made when it is first asked for.
func (m *mill) wire(name, upstream string) (*proxy.Proxy, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := m.wires[name]; p != nil {
		return p, nil
	}
	p, err := proxy.Start(upstream)
	if err != nil {
		return nil, fmt.Errorf("proxy %s: %w", name, err)
	}
	m.wires[name] = p
	return p, nil
}

// healWires lifts all faults of the network.
func (m *mill) healWires() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.wires {
		p.Heal()
	}
}

// stop kills everything.
func (m *mill) stop() {
	for _, pair := range m.services {
		for _, p := range pair {
			if p != nil {
				p.kill()
			}
		}
	}
	if m.nats != nil {
		m.nats.kill()
	}
	if m.db != nil && m.db.running() != nil {
		_ = m.db.kill() // it may be gone
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.wires {
		p.Close()
	}
	if !m.small {
		return
	}
	m.saveLog()
	for _, d := range []string{m.natsDir(), m.dbDir()} {
		_ = syscall.Unmount(d, syscall.MNT_DETACH) // stop may be called twice
	}
}

// saveLog keeps what ClickHouse said: the small disk it lies on goes with the
// lab. stop may be called twice, when nothing is there any more.
func (m *mill) saveLog() {
	if m.db == nil || m.db.running() == nil {
		return
	}
	if text, err := os.ReadFile(m.db.running().LogFile()); err == nil {
		_ = os.WriteFile(filepath.Join(m.dir, "clickhouse.log"), text, 0o600) // of help only where it is there
	}
}

// all are the processes of Millrace's services.
func (m *mill) all() (list []*process) {
	for _, name := range order {
		for _, p := range m.services[name] {
			list = append(list, p)
		}
	}
	return list
}

// names of the streams.
func (m *mill) names() bus.Names { return bus.Names{Prefix: bus.DefaultPrefix} }

// jetStream connects past all proxies, until done is called.
func (m *mill) jetStream() (js jetstream.JetStream, done func(), err error) {
	nc, err := nats.Connect("nats://"+address(m.natsPort), nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true), nats.ReconnectWait(50*time.Millisecond),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // who asks is told
	if err != nil {
		return nil, nil, err
	}
	js, err = jetstream.New(nc)
	return js, nc.Close, err
}
