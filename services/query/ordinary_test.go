package query

import (
	"time"

	"github.com/millrace/millrace/libs/localdb"
)

// ordinary is SQL that looks for rows of another source, by every way of asking there is, or for who it runs as, and is
// nothing but a question: it is answered with what the key's own source has.
var ordinary = []struct{ query, sql, answer string }{
	{sql: "SELECT source, count() FROM events GROUP BY source", answer: "shop\t1000\n"},
	{sql: "SELECT count() FROM events", answer: "1000\n"},
	{sql: "SELECT count() FROM millrace.events WHERE source = 'bank'", answer: "0\n"},
	{sql: "SELECT count() FROM events WHERE source != 'shop'", answer: "0\n"},
	{sql: "SELECT count() FROM events WHERE 1 OR source = 'bank'", answer: "1000\n"},
	{sql: "SELECT DISTINCT user_id FROM events", answer: "buyer\n"},
	{sql: "SELECT user_id FROM events ORDER BY user_id LIMIT 1", answer: "buyer\n"},
	{sql: "SELECT min(received_at), max(received_at) FROM events", answer: "2026-01-05 00:00:00.000\t2026-01-05 00:00:00.000\n"},
	{sql: "SELECT min(event_date), max(event_date) FROM events", answer: "2026-01-05\t2026-01-05\n"},
	{sql: "SELECT toYYYYMM(received_at) AS m, count() FROM events GROUP BY m", answer: "202601\t1000\n"},
	{sql: "SELECT _partition_id, count() FROM events GROUP BY 1", answer: "202601\t1000\n"},
	{sql: "SELECT uniqExact(_part) FROM events", answer: "1\n"},
	{sql: "SELECT count() FROM events AS a JOIN (SELECT DISTINCT user_id FROM events) AS b ON a.user_id = b.user_id", answer: "1000\n"},
	{sql: "SELECT count() FROM events WHERE user_id IN (SELECT user_id FROM events WHERE source = 'bank')", answer: "0\n"},
	{sql: "SELECT count() FROM events WHERE user_id GLOBAL NOT IN (SELECT user_id FROM events)", answer: "0\n"},
	{sql: "SELECT (SELECT count() FROM events WHERE source = 'bank')", answer: "0\n"},
	{sql: "WITH x AS (SELECT * FROM events) SELECT uniqExact(source) FROM x", answer: "1\n"},
	{sql: "SELECT source FROM events UNION DISTINCT SELECT source FROM dead_letters", answer: "shop\n"},
	{sql: "SELECT source, count() FROM view(SELECT * FROM events) GROUP BY source", answer: "shop\t1000\n"},
	{sql: "SELECT source, count() FROM viewIfPermitted(SELECT source FROM events ELSE null('source LowCardinality(String)')) GROUP BY source", answer: "shop\t1000\n"},
	{sql: "SELECT source, count() FROM merge('millrace', '^events$') GROUP BY source", answer: "shop\t1000\n"},
	{sql: "SELECT source, original FROM dead_letters", answer: "shop\tours\n"},
	{sql: "SELECT source, original FROM dead_letters_log", answer: "shop\tours\n"},
	{sql: "SELECT source, original FROM dead_letters_log FINAL", answer: "shop\tours\n"},
	{query: "param_t=events", sql: "SELECT count() FROM {t:Identifier}", answer: "1000\n"},
	// Conditions that fail on rows of others would tell that there are some.
	{sql: "SELECT count() FROM events WHERE throwIf(source = 'bank') = 0", answer: "1000\n"},
	{sql: "SELECT count() FROM events PREWHERE throwIf(user_id != 'buyer') = 0", answer: "1000\n"},
	{sql: "SELECT count() FROM events WHERE intDiv(1, source = 'shop') = 1", answer: "1000\n"},
	{sql: "SELECT count() FROM events WHERE source = 'bank' AND throwIf(1)", answer: "0\n"},
	{query: "param_query_id=mine@bank", sql: "SELECT count() FROM events", answer: "1000\n"},
	{sql: "EXISTS events", answer: "1\n"},
	{sql: "SELECT device_type AS system, count() FROM events GROUP BY system", answer: "\t1000\n"},
	{sql: "SELECT currentUser()", answer: "millrace_scoped\n"},
}

// twoSources stores events and dead letters of two sources.
func (r *rig) twoSources() {
	r.Helper()
	conn := r.db.Open(localdb.WriterUser)
	at := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	for i, of := range []struct{ source, user string }{{ownSource, "buyer"}, {otherSource, otherUser}} {
		batch, err := conn.PrepareBatch(r.Context(), "INSERT INTO events (_shard, _seq, _idx, source, event, user_id, timestamp, received_at)")
		r.must(err)
		at := at.AddDate(0, i, 0)
		for j := range 1000 {
			r.must(batch.Append(uint16(0), uint64(i+1), uint32(j), of.source, "event of "+of.source, of.user, at, at))
		}
		r.must(batch.Send())
		batch, err = conn.PrepareBatch(r.Context(), "INSERT INTO dead_letters_log (_incarnation, _shard, _seq, _idx, source, original, received_at)")
		r.must(err)
		original := map[string]string{ownSource: "ours", otherSource: otherUser}[of.source]
		r.must(batch.Append(uint64(1), uint16(0), uint64(i+1), uint32(0), of.source, original, at))
		r.must(batch.Send())
	}
}
