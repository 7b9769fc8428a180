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
