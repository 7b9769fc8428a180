package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/millrace/millrace/libs/eventdb"
	"github.com/millrace/millrace/libs/localdb"
	"github.com/millrace/millrace/libs/testkit/ports"
)

// database is the mill's ClickHouse, a process of its own.
type database struct {
	cfg localdb.Config

	mu     sync.Mutex // guards server
	server *localdb.Server
}

const memoryLimit = 3 << 30

func newDatabase(dir string, log io.Writer) (*database, error) {
	http, native, err := ports.Two() // every start keeps them
	if err != nil {
		return nil, err
	}
	return &database{cfg: localdb.Config{
		Dir: dir, HTTPPort: http, TCPPort: native, Passwords: localdb.NewPasswords(), MemoryLimit: memoryLimit,
		Log: slog.New(slog.NewTextHandler(log, nil)),
	}}, nil
}

// start starts it on the files and ports it had, also when the run is being
// ended.
func (d *database) start(ctx context.Context) error {
	s, err := localdb.Start(context.WithoutCancel(ctx), d.cfg)
	if err != nil {
		return fmt.Errorf("start ClickHouse: %w", err)
	}
	d.mu.Lock()
	d.server = s
	d.mu.Unlock()
	return nil
}

func (d *database) running() *localdb.Server {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.server
}

func (d *database) kill() error { return d.running().Kill() }

// stop ends it in an orderly way.
func (d *database) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 40*time.Second)
	defer cancel()
	return d.running().Stop(ctx)
}

func (d *database) pid() int { return d.running().Pid() }

func (d *database) password(user string) string {
	p := d.cfg.Passwords
	return map[string]string{
		localdb.WriterUser: p.Writer, localdb.ReaderUser: p.Reader, localdb.MigratorUser: p.Migrator,
	}[user]
}

func (d *database) config(user string) eventdb.Config {
	return eventdb.Config{URL: d.running().Addrs().URL(user, d.password(user))}
}

// open connects past all proxies: the lab's own questions are no part of the
// faults.
func (d *database) open(user string) (driver.Conn, error) { return eventdb.Open(d.config(user)) }

// exec runs statements as the migrator, each until it is accepted or ctx ends.
func (d *database) exec(ctx context.Context, statements ...string) error {
	conn, err := d.open(localdb.MigratorUser)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // all has been answered
	for _, sql := range statements {
		if err := again(ctx, 20*time.Second, func(ctx context.Context) error { return conn.Exec(ctx, sql) }); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

// undo runs statements that lift a fault.
func (d *database) undo(ctx context.Context, statements ...string) error {
	ctx, cancel := undoing(ctx)
	defer cancel()
	return d.exec(ctx, statements...)
}

// number is the answer of a query, as the reader.
func (d *database) number(ctx context.Context, sql string, args ...any) (n uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute) // the reader may not ask for more than minutes
	defer cancel()
	conn, err := d.open(localdb.ReaderUser)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }() // all has been answered
	if err := conn.QueryRow(ctx, sql, args...).Scan(&n); err != nil {
		return 0, fmt.Errorf("%s: %w", sql, err)
	}
	return n, nil
}

// newestPart is the directory of the youngest part of the events, for a server
// that does not run.
func (d *database) newestPart() (string, error) {
	found, err := filepath.Glob(filepath.Join(d.running().DataDir(), "store", "*", "*", "2*_*_*_0"))
	if err != nil {
		return "", err
	}
	var newest string
	var at time.Time
	for _, dir := range found {
		if _, err := os.Stat(filepath.Join(filepath.Dir(dir), "deduplication_logs")); err != nil {
			continue // another table
		}
		if info, err := os.Stat(dir); err == nil && info.ModTime().After(at) {
			newest, at = dir, info.ModTime()
		}
	}
	if newest == "" {
		return "", fmt.Errorf("no part of table events that was not merged yet")
	}
	return newest, nil
}

// again calls f with growing pauses until it returns nil or the time is over.
func again(ctx context.Context, limit time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := f(ctx)
		if err == nil {
			return nil
		}
		if !pause(ctx, wait) {
			return err
		}
	}
}

// pause waits; false says that ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
