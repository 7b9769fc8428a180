package enricher

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event"
	"github.com/millrace/millrace/libs/svc"
)

// Config of an enricher. Log, Reg and Health are required.
type Config struct {
	Bus bus.Config

	DedupWindow time.Duration // for how long a repeat is recognised
	DedupMemory int64         // bytes for that, over all shards of the installation
	LeaseTTL    time.Duration // of silence after which a shard is taken over

	// Limits of an event: those of the ingesters, or wider.
	Limits event.Limits

	// ManageStreams creates the streams by Plan, which must be complete, when
	// there are none; otherwise the enricher waits until somebody has.
	ManageStreams bool
	Plan          bus.Plan

	Instance string // names this process among its equals; "" picks a random one
	Log      *slog.Logger
	Reg      prometheus.Registerer
	Health   *svc.Health

	secret  dedupKey
	process string // random, in every life of the process
}

// RegisterFlags declares the flags with their defaults.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	c.Bus.RegisterFlags(fs)
	c.Defaults()
	fs.DurationVar(&c.DedupWindow, "dedup-window", c.DedupWindow, "`time` for which a repeated message id is recognised")
	fs.Var((*svc.Bytes)(&c.DedupMemory), "dedup-memory", "most `bytes` for recognising repeats, shared by all shards; when they are used up the window is shorter")
	fs.DurationVar(&c.LeaseTTL, "lease-ttl", c.LeaseTTL, "`time` after which a silent owner's shard is taken over")
}

// Defaults fills what is zero.
func (c *Config) Defaults() {
	if c.DedupWindow == 0 {
		c.DedupWindow = time.Hour
	}
	if c.DedupMemory == 0 {
		c.DedupMemory = 256 << 20
	}
	if c.LeaseTTL == 0 {
		c.LeaseTTL = 6 * time.Second
	}
	if c.Limits == (event.Limits{}) {
		c.Limits = event.DefaultLimits()
	}
}

// Validate checks what can be checked without a connection.
func (c *Config) Validate() error {
	switch {
	case c.Log == nil || c.Reg == nil || c.Health == nil:
		return errors.New("enricher: Log, Reg and Health are required")
	case c.DedupWindow < time.Second || c.DedupWindow > 31*24*time.Hour:
		return fmt.Errorf("dedup-window %s: want 1s to 744h", c.DedupWindow)
	case c.DedupMemory < 1<<20:
		return fmt.Errorf("dedup-memory %d: want 1MiB at least", c.DedupMemory)
	case c.LeaseTTL < time.Second:
		return fmt.Errorf("lease-ttl %s: want 1s at least", c.LeaseTTL)
	case c.ManageStreams && (c.Plan.Sizes.Raw <= 0 || c.Plan.Sizes.Enriched <= 0 || c.Plan.Sizes.Dead <= 0 || c.Plan.Sizes.In <= 0 || c.Plan.MaxIn <= 0):
		return errors.New("enricher: to create the streams, every size of the plan is needed")
	}
	if err := c.Limits.Validate(); err != nil {
		return err
	}
	return c.Bus.Validate()
}

// Enricher answers the frames of the shards it owns.
type Enricher struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	lanes   *svc.Lanes // the owned shards

	mu     sync.Mutex // guards the rest
	ready  bool       // the streams were found, and nc is set
	nc     *nats.Conn
	leases *bus.Leases
	shards map[int]error // owned ones; why one is not open, nil when it is
}

// New checks the configuration; it connects to nothing yet, so that services
// may start in any order.
func New(cfg Config) (*Enricher, error) {
	cfg.Defaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.secret, cfg.process = newDedupKey(), rand.Text()
	e := &Enricher{cfg: cfg, log: cfg.Log, metrics: newMetrics(cfg.Reg), shards: map[int]error{}, lanes: svc.NewLanes("enricher", cfg.Reg, bus.StuckReasons()...)}
	cfg.Health.Register("shards", func(context.Context) error { return e.check() })
	return e, nil
}

// check is nil when every owned shard is open. Owning none is well: others do.
func (e *Enricher) check() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.ready {
		return errors.New("waiting for NATS and the streams")
	}
	if !e.nc.IsConnected() {
		return errors.New("NATS is away")
	}
	if e.leases != nil {
		if err := e.leases.Trouble(); err != nil {
			return fmt.Errorf("NATS does not answer: %w", err)
		}
	}
	var all []error
	for id, why := range e.shards {
		if why != nil {
			all = append(all, fmt.Errorf("shard %d is not open: %w", id, why))
		}
	}
	return errors.Join(append(all, e.lanes.Check())...)
}

// Run works until ctx is done and what was in flight is acknowledged. NATS and
// the streams may come later and go away.
func (e *Enricher) Run(ctx context.Context) error {
	nc, js, err := e.cfg.Bus.Connect("millrace-enricher", e.log)
	if err != nil {
		return err
	}
	defer nc.Close()
	var inst bus.Installation
	var kv jetstream.KeyValue
	err = svc.Retry(ctx, e.log, "open the streams", func(ctx context.Context) (err error) {
		ctx, cancel := context.WithTimeout(ctx, apiTimeout)
		defer cancel()
		if inst, err = e.prepare(ctx, js); err != nil {
			return err
		}
		kv, err = js.KeyValue(ctx, inst.Names.BucketLeases())
		return err
	})
	if err != nil {
		return ignoreCancel(ctx, err)
	}
	e.mu.Lock()
	e.ready, e.nc = true, nc
	e.mu.Unlock()
	leases, err := bus.NewLeases(bus.LeaseConfig{
		KV: kv, Service: "enricher", Instance: e.cfg.Instance, Shards: inst.Shards, TTL: e.cfg.LeaseTTL, Log: e.log,
		Happened: e.metrics.lease, Theirs: e.forget,
	})
	if err != nil {
		return err
	}
	e.mu.Lock()
	e.leases = leases
	e.mu.Unlock()
	telling, stop := context.WithCancel(context.WithoutCancel(ctx))
	var g errgroup.Group
	// Ended by stop, once every shard is given up.
	g.Go(func() error { return bus.TellWhy(telling, js, inst.Names, "enricher", e.stuck) })
	defer func() { stop(); _ = g.Wait() }() // its only error is that it was told
	return ignoreCancel(ctx, leases.Run(ctx, func(ctx context.Context, id int) error {
		return e.own(ctx, nc, inst, kv, id)
	}))
}

func (e *Enricher) prepare(ctx context.Context, js jetstream.JetStream) (bus.Installation, error) {
	inst, err := bus.Open(ctx, js, e.cfg.Bus.Names())
	if errors.Is(err, bus.ErrNotProvisioned) && e.cfg.ManageStreams {
		return bus.Provision(ctx, js, e.cfg.Bus.Names(), e.cfg.Plan)
	}
	return inst, err
}

// own works on one shard until ctx is done, and returns an error when it must
// be left before.
func (e *Enricher) own(ctx context.Context, nc *nats.Conn, inst bus.Installation, kv jetstream.KeyValue, id int) error {
	// Futures of one context share a bound on what is in flight; each shard
	// bounds its own, so it has one of its own.
	js, err := jetstream.New(nc,
		jetstream.WithPublishAsyncMaxPending(4*(maxFlying+lettersFlying)), jetstream.WithPublishAsyncTimeout(apiTimeout))
	if err != nil {
		return fmt.Errorf("open JetStream: %w", err)
	}
	m := e.metrics.shard(id)
	s := &shard{
		id: id, cfg: &e.cfg, inst: inst, names: inst.Names, js: js, kv: kv, maxPayload: int(nc.MaxPayload()),
		log: e.log.With("shard", id), m: m, note: func(why error) { e.note(id, m, why) }, lanes: e.lanes,
	}
	defer func() {
		js.CleanupPublisher()
		m.left()
	}()
	err = s.own(ctx)
	if errors.Is(err, ErrFenced) {
		e.metrics.fenced.Inc()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if ctx.Err() != nil || errors.Is(err, ErrFenced) {
		delete(e.shards, id) // somebody else's
		e.lanes.Forget(id)
	} else {
		e.shards[id] = err
		if err != nil {
			e.lanes.Shut(id, stuckReason(err), err.Error())
		}
	}
	return ignoreCancel(ctx, err)
}

// forget is told that another process works on a shard: what was in the way
// here is over.
func (e *Enricher) forget(id int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.shards, id)
	e.lanes.Forget(id)
}

func (e *Enricher) note(id int, m *shardMetrics, why error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.shards[id] = why
	open := 0.0
	switch {
	case why == nil:
		open = 1
		e.lanes.Open(id)
	case errors.Is(why, ErrShut), errors.Is(why, errNewerCodec):
		e.lanes.Shut(id, stuckReason(why), why.Error())
	default:
		e.lanes.Wait(id, bus.StuckTakeover, why.Error())
	}
	m.open.Set(open)
}

func ignoreCancel(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
