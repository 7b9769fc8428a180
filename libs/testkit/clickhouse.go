package testkit

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/millrace/millrace/libs/eventdb"
	"github.com/millrace/millrace/libs/localdb"
	"github.com/millrace/millrace/libs/testkit/ports"
	"github.com/millrace/millrace/libs/testkit/proxy"
)

// ClickHouse is a real ClickHouse of one test, with Millrace's tables.
type ClickHouse struct {
	*localdb.Server // the one that runs now; Start replaces it

	t   testing.TB
	cfg localdb.Config
}

// StartClickHouse starts an empty ClickHouse, creates the tables, and ends it
// with the test. The engine is found as `millrace up` finds it; without one
// the test fails and says what to do.
func StartClickHouse(t testing.TB) *ClickHouse {
	t.Helper()
	http, native, err := ports.Two() // a restart keeps them
	if err != nil {
		t.Fatal(err)
	}
	c := &ClickHouse{t: t, cfg: localdb.Config{
		Dir: t.TempDir(), HTTPPort: http, TCPPort: native, Passwords: localdb.NewPasswords(), MemoryLimit: 4 << 30,
		Log: slog.New(slog.DiscardHandler),
	}}
	c.Start()
	t.Cleanup(func() { _ = c.Kill() }) // its files go with the test
	if _, err := eventdb.Migrate(t.Context(), c.Config(localdb.MigratorUser), eventdb.MigrateOptions{}); err != nil {
		t.Fatalf("migrate: %v", err)
	}
	return c
}

// Start starts ClickHouse again on the same files and ports.
func (c *ClickHouse) Start() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.t.Context()), 2*time.Minute)
	defer cancel()
	s, err := localdb.Start(ctx, c.cfg)
	if err != nil {
		c.t.Fatalf("start ClickHouse: %v", err)
	}
	c.Server = s
}

// Password is that of one of the users (localdb.WriterUser, ...).
func (c *ClickHouse) Password(user string) string {
	p := c.cfg.Passwords
	return map[string]string{
		localdb.WriterUser: p.Writer, localdb.ReaderUser: p.Reader, localdb.ScopedUser: p.Reader, localdb.MigratorUser: p.Migrator,
	}[user]
}

// Config is how one of the three users reaches it, through a proxy of the
// native port if one is given.
func (c *ClickHouse) Config(user string, through ...*proxy.Proxy) eventdb.Config {
	addrs := c.Addrs()
	if len(through) > 0 {
		addrs.Native = through[0].Addr()
	}
	return eventdb.Config{URL: addrs.URL(user, c.Password(user))}
}

// Open connects as a user, through a proxy of the native port if one is given;
// the connection ends with the test.
func (c *ClickHouse) Open(user string, through ...*proxy.Proxy) driver.Conn {
	c.t.Helper()
	conn, err := eventdb.Open(c.Config(user, through...))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// Count is a number that a query as the reader gives.
func (c *ClickHouse) Count(sql string, args ...any) uint64 {
	c.t.Helper()
	conn, err := eventdb.Open(c.Config(localdb.ReaderUser))
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // all of it has been read
	var n uint64
	if err := conn.QueryRow(c.t.Context(), sql, args...).Scan(&n); err != nil {
		c.t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// Exec runs a statement as the migrator.
func (c *ClickHouse) Exec(sql string) {
	c.t.Helper()
	conn, err := eventdb.Open(c.Config(localdb.MigratorUser))
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // the answer has been read
	if err := conn.Exec(c.t.Context(), sql); err != nil {
		c.t.Fatalf("%s: %v", sql, err)
	}
}
