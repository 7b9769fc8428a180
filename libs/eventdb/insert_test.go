package eventdb

import (
	"strconv"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go"

	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/localdb"
)

// The wire types of frames go into the table's types: every value reads back as it was written, by every kind of
// column, compressed and not.
func TestInsertReadsBackEqual(t *testing.T) {
	s := serve(t)
	s.migrate(t)
	reader := s.open(t, localdb.ReaderUser)
	for _, compress := range []string{"none", "lz4"} {
		t.Run(compress, func(t *testing.T) {
			s.exec(t, "TRUNCATE TABLE events")
			cfg := s.as(localdb.WriterUser)
			cfg.URL += "?compress=" + compress
			client, err := Dial(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = client.Close() }()
			const n = 25
			if err := insert(t.Context(), client, rows(n, strconv.Itoa), "t-"+compress); err != nil {
				t.Fatal(err)
			}
			if got := one[uint64](t, reader, "SELECT count() FROM events"); got != n {
				t.Fatalf("%d rows, want %d", got, n)
			}
			for c, col := range frame.Columns {
				var want string // an expression over i, the number of the row
				switch col.Type {
				case "UInt16":
					want = "3"
				case "UInt32":
					want = "i % 10"
				case "UInt64":
					want = "100 + intDiv(i, 10)"
				case "Bool":
					want = "i % 10 % 2 = 1"
				case "String":
					want = "concat('" + col.Name + " ü ', toString(i))"
				case "Map(String, String)":
					want = "map('v', toString(i), 'of', '" + col.Name + "')"
				case "Map(String, Float64)":
					want = "if(i % 10 > 0, map('n', i % 10 / 4), CAST(map(), 'Map(String, Float64)'))"
				default:
					want = "fromUnixTimestamp64Milli(" + strconv.FormatInt(birth.UnixMilli()+int64(c), 10) + ", 'UTC')"
				}
				bad := one[uint64](t, reader, "WITH (_seq - 100) * 10 + _idx AS i SELECT countIf(NOT ("+col.Name+" = "+want+")) FROM events")
				if bad != 0 {
					t.Errorf("column %s: %d of %d rows differ from %s", col.Name, bad, n, want)
				}
			}
			if got := one[time.Time](t, reader, "SELECT any(event_date) FROM events"); got.Format(time.DateOnly) != "2026-03-01" {
				t.Errorf("event_date is %s", got)
			}
		})
	}
}

// One insert is one block, one part, and its token is remembered.
func TestInsertIsOneBlockWithAToken(t *testing.T) {
	s := serve(t)
	s.migrate(t)
	reader, writer := s.open(t, localdb.ReaderUser), s.open(t, localdb.WriterUser)
	client := s.dial(t, localdb.WriterUser)
	s.exec(t, "OPTIMIZE TABLE events FINAL")
	const n = 70_000 // more than any default read block
	for range 2 {
		if err := insert(t.Context(), client, rows(n, strconv.Itoa), "same"); err != nil {
			t.Fatal(err)
		}
	}
	if got := one[uint64](t, reader, "SELECT count() FROM events"); got != n {
		t.Fatalf("%d rows after two inserts with one token, want %d", got, n)
	}
	if got := one[uint64](t, writer, "SELECT count() FROM system.parts WHERE database = 'millrace' AND table = 'events' AND active"); got != 1 {
		t.Fatalf("%d parts, want 1", got)
	}
	if err := insert(t.Context(), client, rows(n, strconv.Itoa), "other"); err != nil {
		t.Fatal(err)
	}
	if got := one[uint64](t, reader, "SELECT count() FROM events"); got != 2*n {
		t.Fatalf("%d rows after another token, want %d", got, 2*n)
	}
	if got := one[uint64](t, reader, "SELECT count() FROM events WHERE _shard = 3 AND _seq BETWEEN 110 AND 111"); got != 40 {
		t.Fatalf("count of two frames is %d, want 40", got)
	}
}

func TestTimesAtTheEdgeOfTheRange(t *testing.T) {
	s := serve(t)
	s.migrate(t)
	client, reader := s.dial(t, localdb.WriterUser), s.open(t, localdb.ReaderUser)
	edges := []string{"1900-01-01 00:00:00.000", "1969-12-31 23:59:59.999", "1970-01-01 00:00:00.000", "2299-12-31 23:59:59.999"}
	b := frame.NewBlock(frame.RowSchema)
	for i, edge := range edges {
		at, err := time.Parse("2006-01-02 15:04:05.000", edge)
		if err != nil {
			t.Fatal(err)
		}
		setMillis(b, uint32(i), at)
	}
	if err := insert(t.Context(), client, b, "edges"); err != nil {
		t.Fatal(err)
	}
	for i, edge := range edges {
		i := strconv.Itoa(i)
		if got := one[string](t, reader, "SELECT toString(timestamp) FROM events WHERE _idx = "+i); got != edge {
			t.Errorf("timestamp is %s, want %s", got, edge)
		}
		if got := one[string](t, reader, "SELECT toString(event_date) FROM events WHERE _idx = "+i); got != edge[:10] {
			t.Errorf("event_date is %s, want %s", got, edge[:10])
		}
		if got := one[uint64](t, reader, "SELECT count() FROM events WHERE source = 'source ü x' AND event_date = '"+edge[:10]+"' AND timestamp = '"+edge+"'"); got != 1 {
			t.Errorf("%s is found %d times by the key", edge, got)
		}
	}
}

// setMillis adds a row whose event time is at and whose receipt is not.
func setMillis(b *frame.Block, idx uint32, at time.Time) {
	for c, col := range frame.Columns {
		switch col.Type {
		case "UInt16":
			b.U16(c, 3)
		case "UInt32":
			b.U32(c, idx)
		case "UInt64":
			b.U64(c, 1)
		case "Bool":
			b.Bool(c, false)
		case "String":
			b.Text(c, col.Name+" ü x")
		case "Map(String, String)", "Map(String, Float64)":
		default:
			if c == frame.ColTimestamp {
				b.Millis(c, at.UnixMilli())
			} else {
				b.Millis(c, birth.UnixMilli())
			}
		}
	}
	b.EndRow()
}

func TestDeadLettersAreReadOnce(t *testing.T) {
	s := serve(t)
	s.migrate(t)
	writer, reader := s.open(t, localdb.WriterUser), s.open(t, localdb.ReaderUser)
	const sql = "INSERT INTO dead_letters_log (_incarnation, _shard, _seq, _idx, retry, source, stage, reason, detail, original, received_at, refused_at) VALUES"
	for i := range 3 {
		batch, err := writer.PrepareBatch(t.Context(), sql)
		if err != nil {
			t.Fatal(err)
		}
		for idx := range uint32(5) {
			if err := batch.Append(uint64(1), uint16(2), uint64(3), idx, uint16(0), "web", "enricher", "bad_timestamp", "d",
				"\x00\xffraw", birth, birth.Add(time.Duration(i)*time.Second)); err != nil {
				t.Fatal(err)
			}
		}
		if err := batch.Send(); err != nil {
			t.Fatal(err)
		}
	}
	if got := one[uint64](t, reader, "SELECT count() FROM dead_letters"); got != 5 {
		t.Fatalf("%d dead letters, want 5", got)
	}
	got := one[string](t, reader, "SELECT any(concat(source, stage, reason, detail, original)) FROM dead_letters WHERE received_at > 0 AND _shard = 2 AND _seq = 3 AND _idx = 4")
	if got != "webenricherbad_timestampd\x00\xffraw" {
		t.Fatalf("the dead letter reads %q", got)
	}
}

func TestInsertSettings(t *testing.T) {
	s := serve(t)
	s.migrate(t)
	client := s.dial(t, localdb.WriterUser)
	err := client.Do(t.Context(), ch.Query{Body: "SELECT throwIf(getSetting('async_insert') OR NOT getSetting('insert_deduplicate') OR getSetting('use_strict_insert_block_limits')) FORMAT Null"})
	if err != nil {
		t.Fatal(err)
	}
}
