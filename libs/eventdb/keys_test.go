package eventdb

import (
	"strconv"
	"strings"
	"testing"

	"github.com/millrace/millrace/libs/localdb"
)

// The questions that the keys were chosen for use them. A rename of an index or a change of the key that turns one
// of them into a full scan shows here.
func TestQuestionsUseTheKeys(t *testing.T) {
	s := serve(t)
	s.migrate(t)
	if err := insert(t.Context(), s.dial(t, localdb.WriterUser), rows(20_000, strconv.Itoa), "k"); err != nil {
		t.Fatal(err)
	}
	conn := s.open(t, localdb.ReaderUser)
	for where, keys := range map[string][]string{
		"_shard = 3 AND _seq BETWEEN 110 AND 111": {"by_seq"},
		"user_id = 'u'":                       {"by_user"},
		"anonymous_id = 'a'":                  {"by_anonymous"},
		"user_id = 'u' OR anonymous_id = 'a'": {"by_user", "by_anonymous"},
		"source = 'web' AND event_date >= '2026-03-01' AND event = 'Order Completed'":     {"source", "event_date", "event"},
		"received_at >= '2027-01-01 00:00:00' AND user_id IN ('u', 'v') AND source = 'a'": {"received_at"},
	} {
		rows, err := conn.Query(t.Context(), "EXPLAIN indexes = 1 SELECT count() FROM events WHERE "+where)
		if err != nil {
			t.Fatal(err)
		}
		var plan []string
		for rows.Next() {
			var line string
			if err := rows.Scan(&line); err != nil {
				t.Fatal(err)
			}
			plan = append(plan, strings.TrimSpace(line))
		}
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
		text := strings.Join(plan, "\n")
		_, used, _ := strings.Cut(text, "Indexes:")
		for _, key := range keys {
			if !strings.Contains(used, key) {
				t.Errorf("%s does not use %s:\n%s", where, key, text)
			}
		}
	}
}

// What a projection says is what the rows say, before a merge built it, after, and after rows were deleted.
func TestHistoriesUseTheProjection(t *testing.T) {
	s := serve(t)
	s.migrate(t)
	writer, reader := s.dial(t, localdb.WriterUser), s.open(t, localdb.ReaderUser)
	mine := " FROM events WHERE source = 'source ü 7'" +
		" AND if(empty(user_id), concat('a', anonymous_id), concat('u', user_id)) IN ('uuser_id ü 7', 'aanonymous_id ü 8')"
	check := func(when string, used bool, want uint64) {
		t.Helper()
		for _, sql := range []string{
			"SELECT count()" + mine + " AND event_date > '2026-01-01'",
			"SELECT count() FROM (SELECT title, _idx" + mine + " ORDER BY timestamp LIMIT 100)", // columns that it does not have
		} {
			plan := ""
			rows, err := reader.Query(t.Context(), "EXPLAIN indexes = 1, projections = 1 "+sql)
			if err != nil {
				t.Fatal(err)
			}
			for rows.Next() {
				var line string
				if err := rows.Scan(&line); err != nil {
					t.Fatal(err)
				}
				plan += line + "\n"
			}
			if err := rows.Close(); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(plan, "by_person") != used {
				t.Errorf("%s: the projection is used: %t\n%s", when, !used, plan)
			}
			if n := one[uint64](t, reader, sql); n != want {
				t.Errorf("%s: %d rows, want %d", when, n, want)
			}
		}
	}
	for i := range 2 {
		if err := insert(t.Context(), writer, rows(20_000, func(n int) string { return strconv.Itoa(n % 1000) }), strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
	}
	check("fresh", false, 40)
	s.exec(t, "OPTIMIZE TABLE events FINAL")
	check("merged", true, 40)
	s.exec(t, "DELETE FROM events WHERE user_id = 'user_id ü 7' AND _seq < 1100 AND _idx = 7")
	check("erased", true, 20)
}
