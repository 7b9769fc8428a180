package indexer

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/eventdb"
	"github.com/millrace/millrace/libs/svc"
)

// Config of an indexer. Log, Reg and Health are required.
type Config struct {
	Bus bus.Config
	DB  eventdb.Config

	FlushMin      time.Duration // a quiet sink's batch is cut at this age
	FlushMax      time.Duration // a busy sink's batch is cut at this age
	MaxRows       int           // of a block
	MaxBytes      int           // of a block's columns, uncompressed
	InsertTimeout time.Duration // then the outcome is unknown and rows are counted
	Keep          time.Duration // how long proven frames stay in the streams
	TrimEvery     time.Duration
	LeaseTTL      time.Duration

	Instance string // names this owner in the ledger; "" picks a random one
	Log      *slog.Logger
	Reg      prometheus.Registerer
	Health   *svc.Health

	pace pace
}

// RegisterFlags declares the flags with their defaults.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	c.Bus.RegisterFlags(fs)
	c.DB.RegisterFlags(fs)
	c.Defaults()
	fs.DurationVar(&c.FlushMin, "flush-min", c.FlushMin, "age at which a quiet sink's block is inserted")
	fs.DurationVar(&c.FlushMax, "flush-max", c.FlushMax, "age at which a busy sink's block is inserted")
	fs.IntVar(&c.MaxRows, "max-rows", c.MaxRows, "rows of a block at most")
	fs.IntVar(&c.MaxBytes, "max-bytes", c.MaxBytes, "bytes of a block at most")
	fs.DurationVar(&c.InsertTimeout, "insert-timeout", c.InsertTimeout, "time after which an insert's outcome counts as unknown")
	fs.DurationVar(&c.Keep, "keep", c.Keep, "time that proven frames stay in the streams, while there is room")
	fs.DurationVar(&c.TrimEvery, "trim-every", c.TrimEvery, "time between two routine trims of the streams")
	fs.DurationVar(&c.LeaseTTL, "lease-ttl", c.LeaseTTL, "time after which a silent owner's sink is taken over")
}

// Defaults fills what is zero.
func (c *Config) Defaults() {
	or := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	or(&c.FlushMin, 50*time.Millisecond)
	or(&c.FlushMax, time.Second)
	or(&c.InsertTimeout, 30*time.Second)
	or(&c.Keep, 7*24*time.Hour)
	or(&c.TrimEvery, 30*time.Second)
	or(&c.LeaseTTL, 6*time.Second)
	if c.MaxRows == 0 {
		c.MaxRows = 100_000
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = 64 << 20
	}
}

// Validate checks the configuration.
func (c *Config) Validate() error {
	switch {
	case c.Log == nil || c.Reg == nil || c.Health == nil:
		return errors.New("indexer: Log, Reg and Health are required")
	case c.FlushMin <= 0 || c.FlushMax < c.FlushMin:
		return fmt.Errorf("flush-min %s and flush-max %s: want 0 < min <= max", c.FlushMin, c.FlushMax)
	case c.MaxRows < 1 || c.MaxBytes < 1:
		return fmt.Errorf("max-rows %d and max-bytes %d must be positive", c.MaxRows, c.MaxBytes)
	case c.TrimEvery <= 0 || c.Keep < 0 || c.InsertTimeout <= 0:
		return fmt.Errorf("trim-every %s, keep %s, insert-timeout %s: want positive times", c.TrimEvery, c.Keep, c.InsertTimeout)
	}
	if err := c.Bus.Validate(); err != nil {
		return err
	}
	return c.DB.Validate()
}

// Indexer brings the shards of the sinks it owns into ClickHouse.
type Indexer struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics

	lanes *svc.Lanes // the shards of owned sinks

	mu     sync.Mutex // guards the rest
	nc     *nats.Conn // set once ready
	leases *bus.Leases
	ready  bool
}

// New checks the configuration; it connects to nothing yet, so that services
// may start in any order.
func New(cfg Config) (*Indexer, error) {
	cfg.Defaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Instance == "" {
		cfg.Instance = nuid.Next()
	}
	cfg.pace = pace{minAge: cfg.FlushMin, maxAge: cfg.FlushMax, maxRows: cfg.MaxRows, maxBytes: cfg.MaxBytes}
	x := &Indexer{cfg: cfg, log: cfg.Log, metrics: newMetrics(cfg.Reg), lanes: svc.NewLanes("indexer", cfg.Reg, bus.StuckReasons()...)}
	cfg.Health.Register("shards", func(context.Context) error { return x.check() })
	return x, nil
}

func (x *Indexer) check() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.ready {
		return errors.New("waiting for NATS, the streams and ClickHouse's tables")
	}
	if !x.nc.IsConnected() {
		return errors.New("NATS is away")
	}
	if x.leases != nil {
		if err := x.leases.Trouble(); err != nil {
			return fmt.Errorf("NATS does not answer: %w", err)
		}
	}
	return x.lanes.Check()
}

// note says that a shard is open, or with an error that it is shut.
func (x *Indexer) note(shard int, why error) {
	open := 0.0
	if why == nil {
		open = 1
		x.lanes.Open(shard)
	} else {
		x.lanes.Shut(shard, stuckReason(why), why.Error())
	}
	x.metrics.open.WithLabelValues(strconv.Itoa(shard)).Set(open)
}

func (x *Indexer) forget(shard int) {
	x.lanes.Forget(shard)
	x.metrics.open.WithLabelValues(strconv.Itoa(shard)).Set(0)
}

// Run works until ctx is done and every block that was begun is settled.
func (x *Indexer) Run(ctx context.Context) error {
	nc, js, err := x.cfg.Bus.Connect("millrace-indexer", x.log)
	if err != nil {
		return err
	}
	defer nc.Close()
	names := x.cfg.Bus.Names()
	var inst bus.Installation
	var ledger jetstream.Stream
	var leases jetstream.KeyValue
	err = svc.Retry(ctx, x.log, "open the streams", func(ctx context.Context) (err error) {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if inst, err = bus.Open(ctx, js, names); err != nil {
			if errors.Is(err, bus.ErrOldLedger) {
				return svc.Permanent(err)
			}
			return err
		}
		if ledger, err = js.Stream(ctx, names.StreamLedger()); err != nil {
			return fmt.Errorf("look up stream %s: %w", names.StreamLedger(), err)
		}
		if leases, err = js.KeyValue(ctx, names.BucketLeases()); err != nil {
			return fmt.Errorf("look up bucket %s: %w", names.BucketLeases(), err)
		}
		return nil
	})
	if err == nil {
		err = svc.Retry(ctx, x.log, "check ClickHouse's tables", func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			return x.checkTables(ctx)
		})
	}
	if err != nil {
		return ignoreCancel(ctx, err)
	}
	x.mu.Lock()
	x.ready, x.nc = true, nc
	x.mu.Unlock()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return x.work(ctx, inst, js, ledger, leases) })
	lane := deadLane{cfg: &x.cfg, names: names, js: js, table: x.newTable(), metrics: x.metrics, log: x.log}
	g.Go(func() error { return lane.run(ctx) })
	g.Go(func() error { return bus.TellWhy(ctx, js, names, "indexer", x.stuck) })
	return ignoreCancel(ctx, g.Wait())
}

func (x *Indexer) checkTables(ctx context.Context) error {
	conn, err := eventdb.Open(x.cfg.DB)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // the answers have been read
	return eventdb.Check(ctx, conn)
}

func ignoreCancel(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (x *Indexer) newTable() *table {
	dial := func(ctx context.Context) (*ch.Client, error) { return eventdb.Dial(ctx, x.cfg.DB) }
	return &table{dial: dial, timeout: x.cfg.InsertTimeout}
}

// work takes sinks by lease and runs each.
func (x *Indexer) work(ctx context.Context, inst bus.Installation, js jetstream.JetStream, ledger jetstream.Stream, kv jetstream.KeyValue) error {
	leases, err := bus.NewLeases(bus.LeaseConfig{
		KV: kv, Service: "indexer", Instance: x.cfg.Instance, Shards: inst.Sinks, TTL: x.cfg.LeaseTTL, Log: x.log.With("leases", "sinks"),
		Happened: x.metrics.lease,
		Theirs: func(sink int) {
			for _, shard := range inst.ShardsOf(sink) {
				x.forget(shard)
			}
		},
	})
	if err != nil {
		return err
	}
	x.mu.Lock()
	x.leases = leases
	x.mu.Unlock()
	return leases.Run(ctx, func(ctx context.Context, id int) error {
		err := x.sink(id, inst, js, ledger, kv).run(ctx)
		for _, shard := range inst.ShardsOf(id) {
			// A twin that has fenced us has it, or will have it since we were told to
			// leave; that is how it should be.
			if err == nil || ctx.Err() != nil || errors.Is(err, bus.ErrFenced) {
				x.forget(shard)
			} else {
				x.note(shard, err)
			}
		}
		return err
	})
}

func (x *Indexer) sink(id int, inst bus.Installation, js jetstream.JetStream, ledger jetstream.Stream, kv jetstream.KeyValue) *sink {
	s := &sink{
		id: id, cfg: &x.cfg, inst: inst, names: inst.Names, js: js, ledger: ledger, kv: kv, table: x.newTable(), dial: x.newTable,
		note: x.note, lanes: x.lanes, metrics: x.metrics, log: x.log.With("sink", id),
	}
	return s.owned()
}
