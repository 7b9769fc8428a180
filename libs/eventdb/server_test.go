package eventdb

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/localdb"
)

// testServer is a ClickHouse of its own for one test.
type testServer struct {
	*localdb.Server
	cfg localdb.Config
}

func serve(t *testing.T) *testServer {
	t.Helper()
	cfg := localdb.Config{
		Dir: t.TempDir(), Passwords: localdb.NewPasswords(), MemoryLimit: 2 << 30, Log: slog.New(slog.DiscardHandler),
	}
	s, err := localdb.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Kill(); err != nil {
			t.Error(err)
		}
	})
	return &testServer{s, cfg}
}

func (s *testServer) as(user string) Config {
	p := s.cfg.Passwords
	password := map[string]string{
		localdb.WriterUser: p.Writer, localdb.ReaderUser: p.Reader, localdb.MigratorUser: p.Migrator,
	}[user]
	return Config{URL: s.Addrs().URL(user, password)}
}

func (s *testServer) migrate(t *testing.T) {
	t.Helper()
	if _, err := Migrate(t.Context(), s.as(localdb.MigratorUser), MigrateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (s *testServer) open(t *testing.T, user string) driver.Conn {
	t.Helper()
	conn, err := Open(s.as(user))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return conn
}

func (s *testServer) exec(t *testing.T, sql ...string) {
	t.Helper()
	conn := s.open(t, localdb.MigratorUser)
	for _, q := range sql {
		if err := conn.Exec(t.Context(), q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
}

func (s *testServer) dial(t *testing.T, user string) *ch.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	client, err := Dial(ctx, s.as(user))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() }) // the server closes it first in some tests
	return client
}

func one[T any](t *testing.T, conn driver.Conn, sql string) T {
	t.Helper()
	var v T
	if err := conn.QueryRow(t.Context(), sql).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

var birth = time.Date(2026, 3, 1, 12, 0, 0, 123e6, time.UTC)

// rows makes a block of n rows of shard 3; value says what property "v" of a row is.
func rows(n int, value func(i int) string) *frame.Block {
	b := frame.NewBlock(frame.RowSchema)
	for i := range n {
		addRow(b, uint64(100+i/10), uint32(i%10), value(i))
	}
	return b
}

func addRow(b *frame.Block, seq uint64, idx uint32, value string) {
	for c, col := range frame.Columns {
		switch col.Type {
		case "UInt16":
			b.U16(c, 3)
		case "UInt32":
			b.U32(c, idx)
		case "UInt64":
			b.U64(c, seq)
		case "Bool":
			b.Bool(c, idx%2 == 1)
		case "String":
			b.Text(c, col.Name+" ü "+value)
		case "Map(String, String)":
			b.Entry(c, []byte("v"), []byte(value))
			b.Entry(c, []byte("of"), []byte(col.Name))
		case "Map(String, Float64)":
			if idx > 0 {
				b.FloatEntry(c, []byte("n"), float64(idx)/4)
			}
		default: // DateTime64
			b.Millis(c, birth.UnixMilli()+int64(c))
		}
	}
	b.EndRow()
}

func insert(ctx context.Context, client *ch.Client, b *frame.Block, token string) error {
	return client.Do(ctx, ch.Query{
		Body: InsertEvents(), Input: Input(b), Settings: []ch.Setting{{Key: "insert_deduplication_token", Value: token, Important: true}},
	})
}
