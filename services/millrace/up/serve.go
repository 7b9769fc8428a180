package up

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/eventdb"
	"github.com/millrace/millrace/libs/localdb"
	"github.com/millrace/millrace/libs/svc"
)

// ErrNoDirectory says that there is no installation in a directory.
var ErrNoDirectory = errors.New("there is no installation")

// Servers are those of an installation whose services do not run.
type Servers struct {
	Bus bus.Config
	DB  eventdb.Config // as the indexer
	// Tables makes or updates the tables.
	Tables func(ctx context.Context) error
	// Plan is how streams that are missing are to be made.
	Plan bus.Plan
}

// Serve starts NATS and ClickHouse of the installation in cfg.Dir on free
// ports, without any service, for as long as work takes. It holds the
// directory, so no `millrace up` runs meanwhile. Of cfg it takes Dir, MaxDisk,
// ClickHouse, Shards, Sinks, Out and Log.
func Serve(ctx context.Context, cfg Config, work func(ctx context.Context, s Servers) error) (err error) {
	if cfg.Dir, err = filepath.Abs(cfg.Dir); err != nil {
		return fmt.Errorf("--dir: %w", err)
	}
	found := false
	for _, part := range []string{"nats", "clickhouse"} {
		_, err := os.Stat(filepath.Join(cfg.Dir, part))
		found = found || err == nil
	}
	if !found {
		return fmt.Errorf("%w in %s: name its directory with --dir, or its servers with --nats-url and --clickhouse-url", ErrNoDirectory, cfg.Dir)
	}
	say := newNarrator(cfg.Out)
	lock, err := lockDir(ctx, cfg.Dir, say)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.release()) }()
	disk, err := cfg.measureDisk()
	if err != nil {
		return err
	}
	secrets, err := keepSecrets(cfg.Dir, "", "") // nobody is let in, so no key is made
	if err != nil {
		return err
	}
	cfg.NATSPort, cfg.ClickHouseHTTPPort, cfg.ClickHouseNativePort = 0, 0, 0
	cfg.Durability = string(eventdb.DurabilityPower) // NATS's, for as long as this takes
	nats, db, err := startServers(ctx, &cfg, disk, secrets.passwords(), svc.NewRegistry(), say)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopServers(ctx, nats, db)) }()
	budget, err := share(int64(cfg.MaxDisk), max(cfg.Shards, bus.DefaultShards))
	if err != nil {
		return err
	}
	return work(ctx, Servers{
		Bus: bus.Config{InProcess: nats.Server},
		DB:  db.as(localdb.WriterUser, secrets.ClickHouse.Writer),
		Tables: func(ctx context.Context) error {
			_, err := eventdb.Migrate(ctx, db.as(localdb.MigratorUser, secrets.ClickHouse.Migrator),
				eventdb.MigrateOptions{Durability: eventdb.DurabilityKeep})
			return err
		},
		Plan: bus.Plan{Shards: cfg.Shards, Sinks: cfg.Sinks, Sizes: budget.Streams, MaxIn: maxRequest},
	})
}
