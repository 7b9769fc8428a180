package query

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/bus/sources"
	"github.com/millrace/millrace/libs/svc"
	"github.com/millrace/millrace/schemas/api"
	"github.com/millrace/millrace/services/query/access"
	"github.com/millrace/millrace/services/query/live"
	"github.com/millrace/millrace/services/query/reader"
	"github.com/millrace/millrace/services/query/reports"
	"github.com/millrace/millrace/services/query/sqlgate"
	"github.com/millrace/millrace/services/query/tail"
	"github.com/millrace/millrace/services/query/users"
)

// Service answers questions. Its exported methods may be called while Run runs.
type Service struct {
	cfg      Config
	log      *slog.Logger
	metrics  *metrics
	names    bus.Names
	nc       *nats.Conn
	js       jetstream.JetStream
	db       *reader.Client
	ring     *access.Ring
	sources  *sources.Registry
	gate     *sqlgate.Gate
	reports  *reports.Reports
	ledger   *watermark
	tail     *tail.Tail
	users    *users.Users
	live     *live.Live
	listener net.Listener
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
	known := sources.New(cfg.WriteKeys, cfg.Log)
	ring, err := access.New(access.Config{
		APIKeys: cfg.Keys, File: cfg.AccessFile, WriteKeys: &cfg.WriteKeys, Sources: known, SourceKeys: cfg.SourceKeys, Log: cfg.Log,
		Writes: access.Quota{PerSecond: max(cfg.WriteKeyRate, 0), Burst: cfg.WriteKeyBurst},
	})
	if err != nil {
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
		db: reader.New(cfg.ClickHouse), ring: ring, sources: known,
		ledger: newWatermark(m, cfg.Log), listener: listener,
		verifies: make(chan struct{}, 1), stopping: make(chan struct{}),
	}
	s.owners, s.pulse, s.nats.State = bus.NewObserver(), newPulse(s.db), StateOK
	s.gate, err = sqlgate.New(sqlgate.Config{
		Reader: s.db, Await: s.await, Alive: s.pulse.question, MaxTime: cfg.MaxTime, MaxConcurrent: cfg.MaxConcurrent,
		Queries: cfg.Queries, Document: api.Query, Log: cfg.Log,
		Metrics: sqlgate.Metrics{Running: m.running, Bytes: m.bytes, Cut: m.cut, Refused: m.refused},
	})
	if err != nil {
		nc.Close()
		return nil, errors.Join(err, listener.Close())
	}
	if s.reports, err = reports.New(reports.Config{Await: s.await, Watermark: s.ledger.receipt}); err != nil {
		nc.Close()
		return nil, errors.Join(err, listener.Close())
	}
	s.tail = tail.New(tail.Config{
		JS: js, Names: s.names, Proven: s.ledger.mark, Budget: cfg.TailMemory, Log: cfg.Log, Reg: cfg.Reg,
	})
	s.users = users.New(users.Config{
		Tail: s.tail, Reader: s.db, Bound: s.pulse.question, NC: nc, Names: s.names, Memory: cfg.UserMemory,
		TrustedProxies: cfg.TrustedProxies, OverQuota: m.refused, Log: cfg.Log, Reg: cfg.Reg,
	})
	if s.live, err = s.newLive(); err != nil {
		nc.Close()
		return nil, errors.Join(err, listener.Close())
	}
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
	cfg.Health.Register("clickhouse", s.db.Ping)
	return s, nil
}

// Addr is where the service listens, with the number chosen for port 0.
func (s *Service) Addr() net.Addr { return s.listener.Addr() }

// drainTime is how long answers that are under way may take once Run was told to stop.
const drainTime = 20 * time.Second

// Run answers until ctx is done and the answers under way are finished.
func (s *Service) Run(ctx context.Context) error {
	defer s.nc.Close()
	defer s.db.Close()
	server := s.newServer()
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	g, failed := errgroup.WithContext(work)
	// Ended by stop, after the last answer.
	g.Go(func() error { return s.follow(failed) })
	g.Go(func() error { return s.look(failed) })
	g.Go(func() error { return untilDone(s.ring.Run(failed)) })
	g.Go(func() error { return untilDone(s.sources.Run(failed, s.js, s.names)) })
	g.Go(func() error { return untilDone(s.gate.Run(failed)) })
	g.Go(func() error { return untilDone(s.tail.Run(failed)) })
	g.Go(func() error { return untilDone(s.users.Run(failed)) })
	g.Go(func() error { return s.live.Run(failed) })
	taking, endTaking := context.WithCancel(failed)
	defer endTaking()
	g.Go(func() error { return s.takeRequests(taking, server.Handler) })
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
	endTaking()
	draining, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	if err := server.Shutdown(draining); err != nil {
		s.log.Warn("answers were cut because they took too long to finish", "err", err)
		_ = server.Close() // it ends what Shutdown gave up on; there is nobody left to tell
	}
	stop()
	return g.Wait()
}

// untilDone makes the end of what runs until it is told to stop no failure.
func untilDone(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
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
