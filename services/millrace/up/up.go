package up

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/eventdb"
	"github.com/millrace/millrace/libs/localdb"
	"github.com/millrace/millrace/libs/svc"
)

// uncleanPatience is how long a start after a kill -9 waits for what the
// killed one has left: its ClickHouse ends by itself within moments.
const uncleanPatience = 8 * time.Second

// Run runs an installation until ctx is done and all of it has stopped.
//
// It is one straight function, as long as the start is, because the order is
// what matters here: every step relies on those above it and is undone by the
// defer beside it.
func Run(ctx context.Context, cfg Config) (err error) {
	if err := cfg.Validate(); err != nil {
		return err
	}
	boundGarbage()
	if cfg.Dir, err = filepath.Abs(cfg.Dir); err != nil {
		return fmt.Errorf("--dir: %w", err)
	}
	say := newNarrator(cfg.Out)
	say.title(cfg.Dir)

	lock, err := lockDir(ctx, cfg.Dir, say)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.release()) }()
	// Of an earlier life: nothing is ready yet.
	if err := withdraw(cfg.readyFiles()...); err != nil {
		return err
	}
	patience := time.Duration(0)
	if lock.unclean {
		say.step("the last run was not stopped; going on where it ended")
		patience = uncleanPatience
	}
	if err := checkPorts(ctx, cfg.wantedPorts(), patience); err != nil {
		return err
	}
	if _, err := localdb.FindEngine(ctx, cfg.ClickHouse); err != nil {
		return err // before anything is started or made
	}
	disk, err := cfg.measureDisk()
	if err != nil {
		return err
	}
	secrets, err := keepSecrets(cfg.Dir, cfg.Source, cfg.WriteKey.Reveal())
	if err != nil {
		return err
	}

	reg, health := svc.NewRegistry(), svc.NewHealth()
	reg.MustRegister(health.Metric())
	nats, db, err := startServers(ctx, &cfg, disk, secrets.passwords(), reg, say)
	if err != nil {
		return err
	}
	// Until svc.Run below takes them over.
	handedOver := false
	defer func() {
		if !handedOver {
			err = errors.Join(err, stopServers(ctx, nats, db))
		}
	}()

	if err := say.timed("tables", func() (string, error) {
		n, err := eventdb.Migrate(ctx, db.as(localdb.MigratorUser, secrets.ClickHouse.Migrator),
			eventdb.MigrateOptions{Durability: eventdb.Durability(cfg.Durability)})
		return fmt.Sprintf("%d migrations applied", n), err
	}); err != nil {
		return err
	}
	conn := bus.Config{InProcess: nats.Server}
	var budget Budget
	if err := say.timed("streams", func() (text string, err error) {
		budget, text, err = provision(ctx, &cfg, conn, disk)
		return text, err
	}); err != nil {
		return err
	}

	p, err := assemble(&cfg, parts{
		conn: conn, nats: nats, db: db, secrets: secrets, budget: budget, reg: reg, health: health, say: say,
	})
	if err != nil {
		return err
	}
	handedOver = true
	return cfg.runUntilStopped(ctx, p, disk, budget, say)
}

// disk is what was found at the start.
type disk struct{ used, free, size int64 }

func (c *Config) measureDisk() (disk, error) {
	used, err := diskUsed(c.Dir)
	if err != nil {
		return disk{}, err
	}
	free, err := diskFree(c.Dir)
	if err != nil {
		return disk{}, err
	}
	if c.MaxDisk == 0 {
		c.MaxDisk = svc.Bytes(defaultBudget(free, used))
	}
	return disk{used: used, free: free, size: free + used}, nil
}

// startServers starts both at once; if one fails, the other is stopped.
func startServers(ctx context.Context, cfg *Config, d disk, passwords localdb.Passwords, reg registerer, say *narrator) (nats *natsServer, db *database, err error) {
	g, starting := errgroup.WithContext(ctx)
	g.Go(func() error {
		return say.timed("nats", func() (string, error) {
			var err error
			if nats, err = startNATS(starting, cfg, d.size); err != nil {
				return "", err
			}
			return nats.ClientURL(), nil
		})
	})
	g.Go(func() error {
		return say.timed("clickhouse", func() (string, error) {
			var err error
			if db, err = startDatabase(starting, cfg, passwords, reg); err != nil {
				return "", err
			}
			return fmt.Sprintf("%s, native %s, process %d", db.addrs().HTTP, db.addrs().Native, db.current().Pid()), nil
		})
	})
	if err := g.Wait(); err != nil {
		return nil, nil, errors.Join(err, stopServers(ctx, nats, db))
	}
	return nats, db, nil
}

func stopServers(ctx context.Context, nats *natsServer, db *database) error {
	var err error
	if db != nil {
		err = db.stop(ctx)
	}
	if nats != nil {
		nats.Shutdown()
		nats.WaitForShutdown()
	}
	return err
}

// provision makes the streams in the sizes of the budget.
func provision(ctx context.Context, cfg *Config, conn bus.Config, d disk) (Budget, string, error) {
	nc, js, err := conn.Connect("millrace-up", cfg.Log)
	if err != nil {
		return Budget{}, "", err
	}
	defer nc.Close()
	shards, existed := cfg.Shards, true
	inst, err := bus.Open(ctx, js, conn.Names())
	switch {
	case errors.Is(err, bus.ErrNotProvisioned):
		existed = false
		if shards == 0 {
			shards = defaultShards()
		}
	case err != nil:
		return Budget{}, "", err
	case shards == 0:
		shards = inst.Shards
	}
	budget, err := share(int64(cfg.MaxDisk), shards)
	if err != nil {
		return Budget{}, "", err
	}
	if err := budget.fits(cfg.Dir, d.free, d.used); err != nil {
		return Budget{}, "", err
	}
	// NATS was down, so every lease in its store is one of a dead process. They
	// are no fence, and waiting for them to go stale would only delay the start.
	// What the bucket knows of frames at which processes died must stay: this
	// may be the start after such a death.
	if err := bus.ForgetLeases(ctx, js, conn.Names()); err != nil {
		return Budget{}, "", fmt.Errorf("forget the leases of the last run: %w", err)
	}
	inst, err = bus.Provision(ctx, js, conn.Names(), bus.Plan{Shards: shards, Sinks: cfg.Sinks, Sizes: budget.Streams, MaxIn: maxRequest})
	if err != nil {
		return Budget{}, "", err
	}
	word := "made"
	if existed {
		word = "found"
	}
	return budget, fmt.Sprintf("%s, %d shards", word, inst.Shards), nil
}

// runUntilStopped runs the services, says when they are ready, and what
// happens when they are told to stop.
func (c *Config) runUntilStopped(ctx context.Context, p process, d disk, budget Budget, say *narrator) (err error) {
	running, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	ended := make(chan error, 1)
	// Ended by ctx, by fail, or by a service that ends.
	go func() { ended <- svc.Run(running, p.Process) }()
	defer func() { err = errors.Join(err, withdraw(c.readyFiles()...)) }()

	waited := say.timed("services", func() (string, error) { return "ready", p.untilReady(running, ended) })
	if waited == nil {
		ready := p.ready
		if waited = ready.publish(c.readyFiles()...); waited == nil {
			c.banner(ready, budget, d)
		}
	}
	if waited != nil {
		fail(waited)
		stopped := <-ended
		if errors.Is(waited, errEnded) || ctx.Err() != nil {
			return stopped
		}
		return errors.Join(waited, stopped)
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	say.line("")
	say.line("stopping (" + context.Cause(ctx).Error() + "): no more events are taken, what was taken is finished; once more to stop at once")
	began := time.Now()
	if err := <-ended; err != nil {
		return err
	}
	say.line("stopped after " + seconds(time.Since(began)))
	return nil
}
