package eventdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/pressly/goose/v3"

	schema "github.com/millrace/millrace/schemas/clickhouse"
)

// versionTable is where goose records what was applied.
const versionTable = "schema_migrations"

// Migration is one file of schemas/clickhouse.
type Migration struct {
	Version int64
	Name    string        // 00001_events.sql
	Applied bool          // whether the database has it
	At      time.Time     // when it was applied, if it was
	Took    time.Duration // how long it took, if this call applied it
}

// Durability is what an acknowledged insert survives.
type Durability string

const (
	// DurabilityKeep leaves the tables as they are.
	DurabilityKeep Durability = ""
	// DurabilityProcess survives the end of any process, kill -9 included, but not a power loss.
	DurabilityProcess Durability = "process"
	// DurabilityPower also survives a power loss: 8 ms more per insert of 10,000 rows on a virtual disk.
	DurabilityPower Durability = "power"
)

// MigrateOptions of one run.
type MigrateOptions struct {
	Progress   func(Migration) // called after each one that was applied; may be nil
	Durability Durability
}

// Migrate creates the database if it is missing and applies the migrations that are, in order, then sets the
// durability. It returns how many were applied. Several may run at once: every statement can be repeated, so the worst
// that happens is a migration that is recorded twice.
func Migrate(ctx context.Context, cfg Config, opts MigrateOptions) (int, error) {
	switch opts.Durability {
	case DurabilityKeep, DurabilityProcess, DurabilityPower:
	default:
		return 0, fmt.Errorf("durability %q is unknown, use %s or %s", opts.Durability, DurabilityProcess, DurabilityPower)
	}
	o, err := cfg.options()
	if err != nil {
		return 0, err
	}
	tune(o)
	if err := createDatabase(ctx, o); err != nil {
		return 0, err
	}
	db := clickhouse.OpenDB(o)
	defer func() { _ = db.Close() }()
	p, err := provider(db)
	if err != nil {
		return 0, err
	}
	applied := 0
	for {
		res, err := p.UpByOne(ctx)
		if errors.Is(err, goose.ErrNoNextVersion) {
			break
		}
		if err != nil {
			return applied, fmt.Errorf("migrate database %s: %w", o.Auth.Database, err)
		}
		applied++
		if res.Source.Version == projectionVersion {
			if err := oldProjections(ctx, db); err != nil {
				return applied, err
			}
		}
		if opts.Progress != nil {
			opts.Progress(Migration{
				Version: res.Source.Version, Name: path.Base(res.Source.Path), Applied: true, At: time.Now(), Took: res.Duration,
			})
		}
	}
	if err := lateProjections(ctx, db); err != nil {
		return applied, err
	}
	return applied, setDurability(ctx, db, opts.Durability)
}

// Status lists the migrations of this version and whether the database has them.
func Status(ctx context.Context, cfg Config) ([]Migration, error) {
	o, err := cfg.options()
	if err != nil {
		return nil, err
	}
	tune(o)
	db := clickhouse.OpenDB(o)
	defer func() { _ = db.Close() }()
	p, err := provider(db)
	if err != nil {
		return nil, err
	}
	list, err := p.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("status of database %s: %w", o.Auth.Database, err)
	}
	out := make([]Migration, len(list))
	for i, m := range list {
		out[i] = Migration{
			Version: m.Source.Version, Name: path.Base(m.Source.Path), Applied: m.State == goose.StateApplied, At: m.AppliedAt,
		}
	}
	return out, nil
}

func provider(db *sql.DB) (*goose.Provider, error) {
	p, err := goose.NewProvider(goose.DialectClickHouse, db, schema.FS,
		goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return nil, fmt.Errorf("read the migrations: %w", err)
	}
	return p, nil
}

// createDatabase connects without choosing a database, since ours may be missing.
func createDatabase(ctx context.Context, o *clickhouse.Options) error {
	bare := *o
	bare.Auth.Database = ""
	conn, err := clickhouse.Open(&bare)
	if err != nil {
		return fmt.Errorf("open ClickHouse: %w", err)
	}
	defer func() { _ = conn.Close() }()
	name := "`" + strings.NewReplacer("\\", "\\\\", "`", "\\`").Replace(o.Auth.Database) + "`"
	if err := conn.Exec(ctx, "CREATE DATABASE IF NOT EXISTS "+name); err != nil {
		return fmt.Errorf("create database %s: %w", o.Auth.Database, err)
	}
	return nil
}

// lateProjections leaves the projections of events to merges, which costs a fifth of what they cost at inserts: fresh parts
// are few rows, and reading all of them is cheap. A ClickHouse before 26.5 cannot do that; there inserts build them.
func lateProjections(ctx context.Context, db *sql.DB) error {
	engine, err := engineOf(ctx, db, Table)
	if err != nil || strings.Contains(engine, "materialize_projections_on_merge = 1") {
		return err
	}
	_, err = db.ExecContext(ctx, "ALTER TABLE "+Table+" MODIFY SETTING materialize_projections_on_insert = 0, materialize_projections_on_merge = 1")
	if exception := new(clickhouse.Exception); errors.As(err, &exception) && exception.Code == codeUnknownSetting {
		return nil
	}
	if err != nil {
		return fmt.Errorf("leave the projections of table %s to merges: %w", Table, err)
	}
	return nil
}

// projectionVersion is the migration that adds the projection by_person.
const projectionVersion = 3

// oldProjections has ClickHouse build the projection of rows that were there before it, in the background. Until a part has it,
// questions read the part whole.
func oldProjections(ctx context.Context, db *sql.DB) error {
	var rows uint64
	if err := db.QueryRowContext(ctx, "SELECT count() FROM "+Table).Scan(&rows); err != nil {
		return fmt.Errorf("count the rows of table %s: %w", Table, err)
	}
	if rows == 0 { // nothing to do, and the first part keeps the number 1
		return nil
	}
	if _, err := db.ExecContext(ctx, "ALTER TABLE "+Table+" MATERIALIZE PROJECTION by_person"); err != nil {
		return fmt.Errorf("build the projection of the rows of table %s: %w", Table, err)
	}
	return nil
}

// codeUnknownSetting is ClickHouse's UNKNOWN_SETTING.
const codeUnknownSetting = 115

// engineOf tells the settings of a table.
func engineOf(ctx context.Context, db *sql.DB, table string) (string, error) {
	var engine string
	if err := db.QueryRowContext(ctx,
		"SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = $1", table).Scan(&engine); err != nil {
		return "", fmt.Errorf("read the settings of table %s: %w", table, err)
	}
	return engine, nil
}

// setDurability changes only tables that differ: an ALTER rewrites the table's metadata.
func setDurability(ctx context.Context, db *sql.DB, d Durability) error {
	if d == DurabilityKeep {
		return nil
	}
	sync := "0"
	if d == DurabilityPower {
		sync = "1"
	}
	for _, table := range []string{Table, "dead_letters_log"} {
		engine, err := engineOf(ctx, db, table)
		if err != nil {
			return err
		}
		if strings.Contains(engine, "fsync_after_insert = "+sync) && strings.Contains(engine, "fsync_part_directory = "+sync) {
			continue
		}
		if _, err := db.ExecContext(ctx, "ALTER TABLE "+table+" MODIFY SETTING fsync_after_insert = "+sync+", fsync_part_directory = "+sync); err != nil {
			return fmt.Errorf("set the durability of table %s to %s: %w", table, d, err)
		}
	}
	return nil
}
