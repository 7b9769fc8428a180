package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/eventdb"
	"github.com/millrace/millrace/services/ingester"
)

// migration is what `millrace migrate` was told.
type migration struct {
	*app
	conn       bus.Config
	db         eventdb.Config
	plan       bus.Plan
	tablesOnly bool
	durability string
	timeout    time.Duration
}

func (a *app) migrate() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Create or update ClickHouse's tables and NATS's streams",
		Long: `Create the database, its tables and the streams, or bring them up to this
version. Services that run may go on. "millrace up" does this by itself; this is
for installations with a NATS and a ClickHouse of their own.`,
		Example: `  millrace migrate --nats-url nats://nats:4222 --clickhouse-url clickhouse://millrace_migrator:secret@clickhouse:9000/millrace
  millrace migrate --status
  millrace migrate --tables-only --durability power`,
		Args: noArguments,
	}
	m := migration{app: a}
	statusOnly := false
	s := newSettings(cmd, true, m.conn.RegisterFlags, m.db.RegisterFlags, func(fs *flag.FlagSet) {
		ingester.RegisterPlan(fs, &m.plan)
		fs.BoolVar(&statusOnly, "status", false, "only show what is there")
		fs.BoolVar(&m.tablesOnly, "tables-only", false, "leave NATS alone")
		fs.StringVar(&m.durability, "durability", "", "`process` or power: whether inserts wait for the disk (default: as it is)")
		fs.DurationVar(&m.timeout, "timeout", time.Minute, "longest `time` for all of it")
	})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if done, err := a.fill(s); done || err != nil {
			return err
		}
		if err := errors.Join(m.conn.Validate(), m.db.Validate()); err != nil {
			return usageError{err}
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), m.timeout)
		defer cancel()
		if !statusOnly {
			if err := m.apply(ctx); err != nil {
				return err
			}
		}
		return m.show(ctx)
	}
	return cmd
}

func (m *migration) apply(ctx context.Context) error {
	_, err := eventdb.Migrate(ctx, m.db, eventdb.MigrateOptions{
		Durability: eventdb.Durability(m.durability),
		Progress: func(one eventdb.Migration) {
			fmt.Fprintf(m.stderr, "applied %s in %s\n", one.Name, one.Took.Round(time.Millisecond))
		},
	})
	if err != nil {
		return fmt.Errorf("ClickHouse: %w", err)
	}
	if m.tablesOnly {
		return nil
	}
	_, err = ingester.Provision(ctx, ingester.Config{Bus: m.conn, Plan: m.plan, Log: slog.New(slog.NewTextHandler(m.stderr, nil))})
	if err != nil {
		return fmt.Errorf("NATS: %w", err)
	}
	return nil
}

// state is the result.
type state struct {
	Migrations []appliedMigration `json:"migrations"`
	Streams    *streams           `json:"streams,omitempty"`
}

type appliedMigration struct {
	Name    string     `json:"name"`
	Applied bool       `json:"applied"`
	At      *time.Time `json:"at,omitempty"`
}

type streams struct {
	Prefix      string `json:"prefix"`
	Shards      int    `json:"shards"`
	Sinks       int    `json:"sinks"`
	Incarnation uint64 `json:"incarnation"`
}

// show prints what is there. A migration or streams that are missing end it
// with 1.
func (m *migration) show(ctx context.Context) error {
	list, err := eventdb.Status(ctx, m.db)
	if err != nil {
		return fmt.Errorf("ClickHouse: %w", err)
	}
	complete := true
	var st state
	for _, one := range list {
		shown := appliedMigration{Name: one.Name, Applied: one.Applied}
		if one.Applied {
			shown.At = &one.At
		}
		st.Migrations = append(st.Migrations, shown)
		complete = complete && one.Applied
	}
	if !m.tablesOnly {
		inst, err := m.installation(ctx)
		switch {
		case err == nil:
			st.Streams = &streams{inst.Names.Prefix, inst.Shards, inst.Sinks, inst.Incarnation}
		case errors.Is(err, bus.ErrNotProvisioned):
			complete = false
		default:
			return fmt.Errorf("NATS: %w", err)
		}
	}
	if err := m.print(st); err != nil {
		return err
	}
	if !complete {
		return errFailed
	}
	return nil
}

func (m *migration) installation(ctx context.Context) (bus.Installation, error) {
	nc, js, err := m.conn.Connect("millrace-migrate", slog.New(slog.DiscardHandler))
	if err != nil {
		return bus.Installation{}, err
	}
	defer nc.Close()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return bus.Open(ctx, js, m.conn.Names())
}

func (m *migration) print(st state) error {
	if m.output == "json" {
		return m.printJSON(st)
	}
	p := newPairs(m.stdout)
	for _, one := range st.Migrations {
		what := "missing"
		if one.Applied {
			what = "applied " + one.At.UTC().Format(time.DateTime)
		}
		p.add(one.Name, what)
	}
	switch {
	case st.Streams != nil:
		p.add("streams", fmt.Sprintf("%d shards, sinks %d, prefix %s, incarnation %d", st.Streams.Shards, st.Streams.Sinks, st.Streams.Prefix, st.Streams.Incarnation))
	case !m.tablesOnly:
		p.add("streams", "missing")
	}
	return p.flush()
}
