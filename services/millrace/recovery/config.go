package recovery

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/eventdb"
)

// Config of a recovery. Log is required; DB is a user with the indexer's
// rights, and NATS's user may manage streams.
type Config struct {
	Bus bus.Config
	DB  eventdb.Config
	// Plan is how streams that are missing are made. Zero shards and sinks mean
	// what the other streams say, else the defaults.
	Plan bus.Plan
	// Tables makes ClickHouse's tables; nil where this is not ours to do.
	Tables func(ctx context.Context) error
	// Window is for how long the enricher knows ids.
	Window time.Duration
	// Quiet is how long after the ledger's last word an insert that it announced
	// may still be under way in ClickHouse.
	Quiet time.Duration
	// Alone says that nobody else can have been connected since NATS started,
	// so that all leases are of the dead.
	Alone bool
	// Dir is where the summary is written.
	Dir string
	Log *slog.Logger
	// Progress is told what is being done; it may be nil.
	Progress func(text string)

	// fault is called before each step and ends the run with its error: tests.
	fault func(step string) error
}

func (c *Config) defaults() error {
	if c.Log == nil {
		return errors.New("recovery: Log is required")
	}
	if c.Window == 0 {
		c.Window = time.Hour
	}
	if c.Dir == "" {
		c.Dir = "."
	}
	if c.Progress == nil {
		c.Progress = func(string) {}
	}
	if c.fault == nil {
		c.fault = func(string) error { return nil }
	}
	if err := c.Bus.Validate(); err != nil {
		return err
	}
	return c.DB.Validate()
}
