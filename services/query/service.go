package query

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/svc"
)

// Config of a query service. Log, Reg and Health are required.
type Config struct {
	Bus        bus.Config
	ClickHouse ClickHouse

	Addr          string        // to listen on; port 0 picks a free one
	Keys          Keys          // bearer keys; required unless Addr is on loopback
	MaxTime       time.Duration // of one question, waiting for ?after= not included
	MaxConcurrent int           // questions at the same time

	Log    *slog.Logger
	Reg    prometheus.Registerer
	Health *svc.Health
}

// ClickHouse says where the HTTP interface is and who the reader is.
type ClickHouse struct {
	URL      string // http://host:8123 or https://host:8443
	User     string // one that can only SELECT from Database
	Password svc.Secret
	Database string
}

// RegisterFlags declares the flags with their defaults.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	c.Bus.RegisterFlags(fs)
	c.Defaults()
	fs.StringVar(&c.Addr, "query-addr", c.Addr, "`address` for questions: POST /v1/sql, POST /v1/verify, GET /v1/status")
	fs.Var(&c.Keys, "api-keys", "bearer `keys` that questions must show one of, joined by commas; needed when query-addr is not on loopback (better: MILLRACE_API_KEYS_FILE)")
	fs.StringVar(&c.ClickHouse.URL, "clickhouse-http-url", c.ClickHouse.URL, "`URL` of ClickHouse's HTTP interface")
	fs.StringVar(&c.ClickHouse.User, "clickhouse-user", c.ClickHouse.User, "ClickHouse user `name`; it must not be able to do more than SELECT")
	fs.Var(&c.ClickHouse.Password, "clickhouse-password", "ClickHouse `password` (better: MILLRACE_CLICKHOUSE_PASSWORD_FILE)")
	fs.StringVar(&c.ClickHouse.Database, "clickhouse-database", c.ClickHouse.Database, "ClickHouse database `name`")
	fs.DurationVar(&c.MaxTime, "max-query-time", c.MaxTime, "longest `time` of one question; the user's profile in ClickHouse usually ends it earlier")
	fs.IntVar(&c.MaxConcurrent, "max-queries", c.MaxConcurrent, "questions that run at the same time")
}

// Defaults fills what is zero.
func (c *Config) Defaults() {
	or := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	or(&c.Addr, "127.0.0.1:8090")
	or(&c.ClickHouse.URL, "http://127.0.0.1:8123")
	or(&c.ClickHouse.User, "millrace_reader")
	or(&c.ClickHouse.Database, "millrace")
	if c.MaxTime == 0 {
		// A little more than the profile of the reader lets anybody ask for, so that ClickHouse's own words come first.
		c.MaxTime = 305 * time.Second
	}
	if c.MaxConcurrent == 0 {
		c.MaxConcurrent = 64
	}
}

// Validate checks what can be checked without a connection.
func (c *Config) Validate() error {
	switch u, err := url.Parse(c.ClickHouse.URL); {
	case c.Log == nil || c.Reg == nil || c.Health == nil:
		return errors.New("query: Log, Reg and Health are required")
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return errors.New("clickhouse-http-url: want an address like http://127.0.0.1:8123")
	case u.User != nil:
		return errors.New("clickhouse-http-url: put user and password into clickhouse-user and clickhouse-password")
	case c.MaxTime <= 0 || c.MaxConcurrent < 1:
		return fmt.Errorf("max-query-time %s and max-queries %d must be positive", c.MaxTime, c.MaxConcurrent)
	}
	if err := c.Bus.Validate(); err != nil {
		return err
	}
	return mayListen(c.Addr, c.Keys)
}

// Service answers questions. Its exported methods may be called while Run runs.
type Service struct {
	cfg      Config
	log      *slog.Logger
	metrics  *metrics
	names    bus.Names
	nc       *nats.Conn
	js       jetstream.JetStream
	db       *clickhouse
	ledger   *watermark
	listener net.Listener
	slots    chan struct{} // one for each question that runs
	verifies chan struct{} // one for each reconciliation that runs
	stopping chan struct{} // closed when Run is told to stop: nobody waits any longer

	owners *bus.Observer
	pulse  *pulse
	lanes  *svc.Lanes // for its metric

	mu     sync.Mutex       // guards all below
	inst   bus.Installation // known once Shards is not 0
	judges []*judge         // by shard
	door   judge
	nats   Condition
	deaf   time.Time // since when looks have failed
	seen   []sight   // by the last look that did not
	seenAt time.Time // when it began
	told   *Status   // the last one that was whole
}

// New listens at once, so that a taken port is named at the start; NATS and ClickHouse may come later.
func New(cfg Config) (*Service, error) {
	cfg.Defaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("query port: %w; --query-addr chooses another", err)
	}
	nc, js, err := cfg.Bus.Connect("millrace-query", cfg.Log)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	m := newMetrics(cfg.Reg)
	s := &Service{
		cfg: cfg, log: cfg.Log, metrics: m, names: cfg.Bus.Names(), nc: nc, js: js,
		db:     newClickHouse(cfg.ClickHouse),
		ledger: newWatermark(m, cfg.Log), listener: listener,
		slots: make(chan struct{}, cfg.MaxConcurrent), verifies: make(chan struct{}, 1), stopping: make(chan struct{}),
	}
	s.owners, s.pulse, s.nats.State = bus.NewObserver(), newPulse(s.db), StateOK
	s.door.condition.State = StateOK
	s.lanes = svc.NewLanes("query", cfg.Reg, bus.StuckReasons()...)
	s.showParts(cfg.Reg)
	cfg.Health.Register("ledger", func(context.Context) error {
		// The looks know sooner than the connection that NATS hangs.
		if c := s.natsCondition(); c.State != StateOK {
			return errors.New(c.Why)
		}
		return s.followed()
	})
	cfg.Health.Register("clickhouse", s.db.ping)
	return s, nil
}

// Command is the query service as a process of its own; see svc.Main.
func Command(fs *flag.FlagSet) func(svc.Env) (svc.Service, error) {
	var cfg Config
	cfg.RegisterFlags(fs)
	return func(env svc.Env) (svc.Service, error) {
		cfg.Log, cfg.Reg, cfg.Health = env.Log, env.Reg, env.Health
		return New(cfg)
	}
}

// Addr is where the service listens, with the number chosen for port 0.
func (s *Service) Addr() net.Addr { return s.listener.Addr() }

// drainTime is how long answers that are under way may take once Run was told to stop.
const drainTime = 20 * time.Second

// Run answers until ctx is done and the answers under way are finished.
func (s *Service) Run(ctx context.Context) error {
	defer s.nc.Close()
	defer s.db.close()
	server := s.newServer()
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	g, failed := errgroup.WithContext(work)
	// Ended by stop, after the last answer.
	g.Go(func() error { return s.follow(failed) })
	g.Go(func() error { return s.look(failed) })
	g.Go(func() error {
		if err := server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("query port %s: %w", s.Addr(), err)
		}
		return nil
	})
	s.log.Info("query port is open", "addr", s.Addr().String())
	select {
	case <-ctx.Done():
	case <-failed.Done():
	}
	close(s.stopping)
	draining, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	if err := server.Shutdown(draining); err != nil {
		s.log.Warn("answers were cut because they took too long to finish", "err", err)
		_ = server.Close() // it ends what Shutdown gave up on; there is nobody left to tell
	}
	stop()
	return g.Wait()
}

// installation reads what the streams say about themselves; shards never change, so once is enough.
func (s *Service) installation(ctx context.Context) (bus.Installation, error) {
	s.mu.Lock()
	inst := s.inst
	s.mu.Unlock()
	if inst.Shards != 0 {
		return inst, nil
	}
	return s.reopen(ctx)
}

func (s *Service) reopen(ctx context.Context) (bus.Installation, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	inst, err := bus.Open(ctx, s.js, s.names)
	if err != nil {
		return bus.Installation{}, fmt.Errorf("NATS: %w: %w", ErrUnavailable, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inst = inst
	return inst, nil
}
