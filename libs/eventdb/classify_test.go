package eventdb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/millrace/millrace/libs/localdb"
)

// Each case spoils the table as a user or an operator might, then inserts ten rows of which row 7 is bad. want is the
// class of the error; a Content error must also be gone without row 7, as bisecting takes for granted. A server that
// refuses a block closes the connection while the rest of it is on its way, and then the client may see only that, as
// Unavailable: as in life, it dials and asks again.
func TestClassifyInserts(t *testing.T) {
	s := serve(t)
	s.migrate(t)
	for _, tc := range []struct {
		name, spoil, mend string
		bad               string // property v of row 7; the others hold numbers
		want              Class
	}{
		{
			name: "constraint", bad: "x", want: Content,
			spoil: "ALTER TABLE events ADD CONSTRAINT c CHECK properties['v'] != 'x'", mend: "ALTER TABLE events DROP CONSTRAINT c",
		},
		{
			name: "number", bad: "x", want: Content,
			spoil: "ALTER TABLE events ADD COLUMN m UInt32 MATERIALIZED toUInt32(properties['v'])",
		},
		{
			name: "number out of nothing", bad: "", want: Content,
			spoil: "ALTER TABLE events ADD COLUMN m UInt32 MATERIALIZED toUInt32(properties['v'])",
		},
		{
			name: "float", bad: "1.2.3", want: Content,
			spoil: "ALTER TABLE events ADD COLUMN m Float64 DEFAULT toFloat64(properties['v'])",
		},
		{
			name: "date", bad: "never", want: Content,
			spoil: "ALTER TABLE events ADD COLUMN m Date MATERIALIZED toDate(if(properties['v'] = 'never', 'never', '2026-01-01'))",
		},
		{
			name: "time", bad: "never", want: Content,
			spoil: "ALTER TABLE events ADD COLUMN m DateTime MATERIALIZED toDateTime(if(properties['v'] = 'never', 'never', '2026-01-01 00:00:00'))",
		},
		{
			name: "division", bad: "0", want: Content,
			spoil: "ALTER TABLE events ADD COLUMN m UInt32 MATERIALIZED intDiv(1, toUInt32(properties['v']) * 1)",
		},
		{
			name: "throwIf", bad: "x", want: Content,
			spoil: "ALTER TABLE events ADD COLUMN m UInt8 MATERIALIZED throwIf(properties['v'] = 'x')",
		},
		{
			name: "uuid", bad: "x", want: Content,
			spoil: "ALTER TABLE events ADD COLUMN m UUID MATERIALIZED toUUID(if(properties['v'] = 'x', 'x', toString(generateUUIDv4())))",
		},
		{
			name: "ip", bad: "x", want: Content,
			spoil: "ALTER TABLE events ADD COLUMN m IPv4 MATERIALIZED toIPv4(if(properties['v'] = 'x', 'x', '127.0.0.1'))",
		},
		{
			name: "enum", bad: "x", want: Content,
			spoil: "ALTER TABLE events ADD COLUMN m Enum8('a' = 1) MATERIALIZED if(properties['v'] = 'x', 'x', 'a')",
		},
		{
			name: "decimal", bad: "123456789", want: Content,
			spoil: "ALTER TABLE events ADD COLUMN m Decimal32(4) MATERIALIZED toDecimal32(properties['v'], 4)",
		},
		{
			name: "json", bad: `{"a":1,"a":2}`, want: Content,
			spoil: "ALTER TABLE events ADD COLUMN m JSON MATERIALIZED CAST(if(properties['v'] LIKE '{%', properties['v'], '{}'), 'JSON')",
		},
		{
			name: "null", bad: "x", want: Content,
			spoil: "ALTER TABLE events ADD COLUMN m UInt32 MATERIALIZED assumeNotNull(CAST(toUInt32OrNull(properties['v']), 'UInt32'))",
		},

		// Refused whatever the rows hold: never Content.
		{
			name: "column gone", want: Setup,
			spoil: "ALTER TABLE events DROP COLUMN title", mend: "ALTER TABLE events ADD COLUMN title String",
		},
		{
			name: "other type", want: Setup,
			spoil: "ALTER TABLE events DROP COLUMN extra, ADD COLUMN extra Array(Tuple(UInt8))", mend: "ALTER TABLE events DROP COLUMN extra, ADD COLUMN extra Map(LowCardinality(String), String)",
		},
		{
			name: "table gone", want: Setup,
			spoil: "RENAME TABLE events TO events_away", mend: "RENAME TABLE events_away TO events",
		},
		{
			name: "too many parts", want: Busy,
			spoil: "ALTER TABLE events MODIFY SETTING parts_to_throw_insert = 1, parts_to_delay_insert = 1", mend: "ALTER TABLE events RESET SETTING parts_to_throw_insert, parts_to_delay_insert",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			client := s.dial(t, localdb.WriterUser)
			if tc.name == "too many parts" {
				if err := insert(t.Context(), client, rows(1, strconv.Itoa), "part"); err != nil {
					t.Fatal(err)
				}
			}
			s.exec(t, tc.spoil)
			mend := tc.mend
			if mend == "" {
				mend = "ALTER TABLE events DROP COLUMN m"
			}
			defer s.exec(t, mend)
			good := func(i int) string { return strconv.Itoa(i + 1) }
			block := rows(10, func(i int) string {
				if i == 7 {
					return tc.bad
				}
				return good(i)
			})
			err := insert(t.Context(), client, block, tc.name)
			for try := 0; try < 10 && err != nil && Classify(err) == Unavailable; try++ {
				t.Logf("asked again after: %v", err)
				client = s.dial(t, localdb.WriterUser)
				err = insert(t.Context(), client, block, tc.name)
			}
			if err == nil {
				t.Fatal("the bad row was taken")
			}
			if got := Classify(err); got != tc.want {
				t.Fatalf("class %s, want %s: %v", got, tc.want, err)
			}
			if tc.want != Content {
				return
			}
			// The connection is still good, and the others go in.
			if err := insert(t.Context(), client, rows(7, good), tc.name+" without"); err != nil {
				t.Fatalf("without the bad row: %v", err)
			}
		})
	}
}

func TestClassifyRest(t *testing.T) {
	s := serve(t)
	s.migrate(t)
	conn := s.open(t, localdb.WriterUser)
	ask := func(ctx context.Context, sql string) error { return conn.Exec(ctx, sql) }
	want := func(class Class, err error) {
		t.Helper()
		if err == nil || Classify(err) != class {
			t.Errorf("class %s, want %s: %v", Classify(err), class, err)
		}
	}
	want(Busy, ask(t.Context(), "SELECT groupArray(number) FROM numbers(10000000) SETTINGS max_memory_usage = 10000000 FORMAT Null"))
	want(Busy, ask(t.Context(), "SELECT sum(sipHash64(number)) FROM numbers(1000000000000) SETTINGS max_execution_time = 0.1 FORMAT Null"))
	want(Setup, ask(t.Context(), "SELECT * FROM system.users"))
	want(Setup, ask(t.Context(), "DROP TABLE events"))
	want(Setup, ask(t.Context(), "SELEKT 1"))
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	want(Unavailable, ask(short, "SELECT sleepEachRow(1) FROM numbers(3) SETTINGS max_block_size = 1"))

	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	want(Unavailable, ask(t.Context(), "SELECT 1"))
	_, err := Dial(t.Context(), s.as(localdb.WriterUser))
	want(Unavailable, err)

	want(Unavailable, io.ErrUnexpectedEOF)
	want(Unavailable, context.DeadlineExceeded)
	want(Busy, &clickhouse.Exception{Code: 99999})
	want(Content, fmt.Errorf("insert: %w", errors.Join(io.EOF, &ch.Exception{Code: 469})))
	for class, word := range map[Class]string{Content: "content", Setup: "setup", Busy: "busy", Unavailable: "unavailable"} {
		if class.String() != word {
			t.Errorf("%d is %s, want %s", class, class, word)
		}
	}
}

func TestClassifyLogin(t *testing.T) {
	s := serve(t)
	cfg := s.as(localdb.WriterUser)
	cfg.Password = "wrong"
	if _, err := Dial(t.Context(), cfg); err == nil || Classify(err) != Setup || strings.Contains(err.Error(), s.cfg.Passwords.Writer) {
		t.Errorf("wrong password: %s: %v", Classify(err), err)
	}
}
