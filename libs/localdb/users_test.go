package localdb

import (
	"errors"
	"strings"
	"testing"
)

// TestRights tries statements as each user. want is "ok" or the code of ClickHouse's exception:
// 497 no such right, 164 readonly, 160 too slow, 452 outside the bounds, 396 too many rows, 516 not logged in, 700 too many sessions.
func TestRights(t *testing.T) {
	cfg := testConfig(t)
	s := start(t, cfg)
	makeTable(t, s, cfg.Passwords)
	must(t, s, MigratorUser, cfg.Passwords.Migrator,
		"CREATE VIEW millrace.v AS SELECT x FROM millrace.t")
	must(t, s, MigratorUser, cfg.Passwords.Migrator, "CREATE DATABASE IF NOT EXISTS millrace")
	must(t, s, MigratorUser, cfg.Passwords.Migrator, "CREATE TABLE millrace.events (source LowCardinality(String)) ENGINE = MergeTree ORDER BY source")
	must(t, s, WriterUser, cfg.Passwords.Writer, "INSERT INTO millrace.events VALUES ('a'), ('b')")

	const outside = "CREATE DATABASE other"
	for _, tc := range []struct {
		user, sql, want string
		settings        []string
	}{
		// The writer puts rows in and counts them.
		{user: WriterUser, sql: "INSERT INTO millrace.t VALUES (7)", want: "ok"},
		{
			user: WriterUser, sql: "INSERT INTO millrace.t VALUES (8)", want: "ok",
			settings: []string{"async_insert", "0", "insert_deduplication_token", "a", "max_execution_time", "10"},
		},
		{user: WriterUser, sql: "SELECT count() FROM millrace.t", want: "ok"},
		{user: WriterUser, sql: "SELECT sum(bytes_on_disk) FROM system.parts WHERE database = 'millrace'", want: "ok"},
		{user: WriterUser, sql: "SELECT free_space FROM system.disks", want: "ok"},
		{user: WriterUser, sql: "SELECT name, type FROM system.columns WHERE database = 'millrace'", want: "ok"},
		{user: WriterUser, sql: "CREATE TABLE millrace.w (x UInt8) ENGINE = MergeTree ORDER BY x", want: "497"},
		{user: WriterUser, sql: "ALTER TABLE millrace.t DELETE WHERE 1", want: "497"},
		{user: WriterUser, sql: "ALTER TABLE millrace.t DROP PARTITION ID 'all'", want: "497"},
		{user: WriterUser, sql: "TRUNCATE TABLE millrace.t", want: "497"},
		{user: WriterUser, sql: "DROP TABLE millrace.t", want: "497"},
		{user: WriterUser, sql: "SELECT * FROM system.processes", want: "497"},
		{user: WriterUser, sql: "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString', 'l String')", want: "497"},
		{user: WriterUser, sql: "SYSTEM STOP MERGES millrace.t", want: "497"},
		{user: WriterUser, sql: outside, want: "497"},

		// The reader reads, within bounds.
		{user: ReaderUser, sql: "SELECT count() FROM millrace.t", want: "ok"},
		{user: ReaderUser, sql: "SELECT count() FROM millrace.v", want: "ok"},
		{user: ReaderUser, sql: "SHOW TABLES FROM millrace", want: "ok"},
		{user: ReaderUser, sql: "DESCRIBE TABLE millrace.t", want: "ok"},
		{user: ReaderUser, sql: "EXPLAIN SELECT count() FROM millrace.t", want: "ok"},
		{user: ReaderUser, sql: "SELECT {x:String}", want: "ok", settings: []string{"param_x", "a"}},
		{user: ReaderUser, sql: "SELECT 1", want: "ok", settings: []string{
			"max_execution_time", "5", "max_result_rows", "10", "log_comment", "c", "output_format_json_quote_64bit_integers", "1",
			"default_format", "JSON", "query_id", "q1", "wait_end_of_query", "1", "buffer_size", "1000",
		}},
		{user: ReaderUser, sql: "SELECT 1 SETTINGS max_execution_time = 0.5", want: "ok"},
		{user: ReaderUser, sql: "SELECT 1 SETTINGS max_execution_time = 5000", want: "452"},
		{user: ReaderUser, sql: "SELECT 1 SETTINGS max_execution_time = 0", want: "452"},
		{user: ReaderUser, sql: "SELECT 1 SETTINGS max_result_rows = 0", want: "452"},
		{user: ReaderUser, sql: "SELECT 1 SETTINGS max_memory_usage = 0", want: "452"},
		{user: ReaderUser, sql: "SELECT 1 SETTINGS readonly = 0", want: "164"},
		{user: ReaderUser, sql: "SELECT 1 SETTINGS result_overflow_mode = 'break'", want: "164"},
		{user: ReaderUser, sql: "SELECT 1 SETTINGS max_concurrent_queries_for_user = 0", want: "164"},
		{user: ReaderUser, sql: "SET max_execution_time = 10", want: "ok"},
		{user: ReaderUser, sql: "SET readonly = 0", want: "164"},
		{user: ReaderUser, sql: "SELECT number FROM numbers(1000001)", want: "396", settings: []string{"wait_end_of_query", "1"}},
		{user: ReaderUser, sql: "SELECT number FROM numbers(100) SETTINGS max_result_rows = 10", want: "396"},
		{user: ReaderUser, sql: "SELECT groupArray(number) FROM numbers(1e8) SETTINGS max_memory_usage = 10000000", want: "241"},
		{user: ReaderUser, sql: "SELECT sum(sipHash64(number)) FROM numbers(1e13) SETTINGS max_execution_time = 0.05", want: "159"},
		{user: ReaderUser, sql: "INSERT INTO millrace.t VALUES (7)", want: "497"},
		{user: ReaderUser, sql: "CREATE TEMPORARY TABLE x (a UInt8)", want: "497"},
		{user: ReaderUser, sql: "SELECT * FROM system.users", want: "497"},
		{user: ReaderUser, sql: "SELECT * FROM system.processes", want: "497"},
		{user: ReaderUser, sql: "SELECT * FROM system.parts", want: "497"},
		{user: ReaderUser, sql: "SELECT * FROM file('/etc/hostname', 'LineAsString', 'l String')", want: "497"},
		{user: ReaderUser, sql: "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString', 'l String')", want: "497"},
		{user: ReaderUser, sql: "SELECT * FROM remote('127.0.0.1:1', millrace.t)", want: "497"},
		{user: ReaderUser, sql: "DROP TABLE millrace.t", want: "497"},
		{user: ReaderUser, sql: "KILL QUERY WHERE 1", want: "497"},
		{user: ReaderUser, sql: "SYSTEM STOP LISTEN HTTP", want: "497"},
		{user: ReaderUser, sql: "SELECT 1; SELECT 2", want: "62"},

		// The reader of some sources sees the tables that have a policy, and no row without a source in the question's id.
		{user: ScopedUser, sql: "SELECT count() FROM millrace.events", want: "ok"},
		{user: ScopedUser, sql: "DESCRIBE TABLE millrace.events", want: "ok"},
		{user: ScopedUser, sql: "SELECT throwIf(count() != 0) FROM millrace.events", want: "ok"},
		{user: ScopedUser, sql: "SELECT throwIf(count() != 1) FROM millrace.events", want: "ok", settings: []string{"query_id", "one@a"}},
		{user: ScopedUser, sql: "SELECT throwIf(count() != 2) FROM millrace.events", want: "ok", settings: []string{"query_id", "two@a,b"}},
		{user: ScopedUser, sql: "SELECT throwIf(count() != 0) FROM millrace.events", want: "ok", settings: []string{"query_id", "none@"}},
		{user: ScopedUser, sql: "SELECT throwIf(count() != 0) FROM millrace.events", want: "ok", settings: []string{"query_id", "other@c"}},
		{user: ScopedUser, sql: "SELECT throwIf(count() != 0) FROM system.tables", want: "ok"},
		{user: ScopedUser, sql: "SELECT throwIf(count() != 0) FROM system.columns", want: "ok"},
		{user: ScopedUser, sql: "SELECT throwIf(count() != 0) FROM system.databases", want: "ok"},
		{user: ScopedUser, sql: "SELECT count() FROM millrace.t", want: "497"},
		{user: ScopedUser, sql: "SELECT 1 SETTINGS readonly = 0", want: "164"},
		{user: ScopedUser, sql: "SELECT 1 SETTINGS use_query_condition_cache = 1", want: "164"},
		{user: ReaderUser, sql: "SELECT throwIf((getSetting('max_memory_usage_for_user'), getSetting('max_temporary_data_on_disk_size_for_query'), getSetting('max_temporary_data_on_disk_size_for_user'), getSetting('min_free_disk_space_for_temporary_data')) != (8589934592, 10737418240, 21474836480, 1073741824))", want: "ok"},
		{user: ReaderUser, sql: "SELECT 1 SETTINGS max_memory_usage_for_user = 0", want: "164"},
		{user: ReaderUser, sql: "SELECT 1 SETTINGS max_temporary_data_on_disk_size_for_query = 0", want: "164"},
		{user: ReaderUser, sql: "SELECT 1 SETTINGS max_temporary_data_on_disk_size_for_user = 0", want: "164"},
		{user: ScopedUser, sql: "SELECT throwIf((getSetting('max_memory_usage_for_user'), getSetting('max_temporary_data_on_disk_size_for_query'), getSetting('max_temporary_data_on_disk_size_for_user'), getSetting('min_free_disk_space_for_temporary_data')) != (8589934592, 10737418240, 21474836480, 1073741824))", want: "ok"},
		{user: ScopedUser, sql: "SELECT 1 SETTINGS max_memory_usage_for_user = 0", want: "164"},
		{user: ScopedUser, sql: "SELECT 1 SETTINGS max_temporary_data_on_disk_size_for_query = 0", want: "164"},
		{user: ScopedUser, sql: "SELECT 1 SETTINGS max_temporary_data_on_disk_size_for_user = 0", want: "164"},
		// The engine counts what a question puts on disk.
		{user: MigratorUser, sql: "SELECT count() FROM (SELECT number AS k, count() FROM numbers(3000000) GROUP BY k) SETTINGS " +
			"max_bytes_before_external_group_by = 10000000, max_temporary_data_on_disk_size_for_query = 1000000", want: "396"},
		{user: MigratorUser, sql: "SELECT count() FROM (SELECT number AS k, count() FROM numbers(3000000) GROUP BY k) SETTINGS " +
			"max_bytes_before_external_group_by = 10000000, min_free_disk_space_for_temporary_data = 1000000000000000000", want: "243"},
		{user: ScopedUser, sql: "SELECT sleep(1)", want: "160"},
		{user: ReaderUser, sql: "SELECT sleep(1)", want: "160"},
		{user: ReaderUser, sql: "SELECT sleepEachRow(0.001) FROM numbers(10)", want: "160"},
		{user: ReaderUser, sql: "SELECT sleep(1) SETTINGS function_sleep_max_microseconds_per_block = 3000000", want: "164"},
		{user: ScopedUser, sql: "INSERT INTO millrace.events VALUES ('a')", want: "497"},
		{user: ScopedUser, sql: "SELECT * FROM system.row_policies", want: "497"},
		{user: ReaderUser, sql: "SELECT throwIf(count() != 2) FROM millrace.events", want: "ok", settings: []string{"query_id", "three@a"}},
		{user: WriterUser, sql: "SELECT throwIf(count() != 2) FROM millrace.events", want: "ok"},

		// The migrator changes the one database.
		{user: MigratorUser, sql: "CREATE TABLE millrace.m (x UInt8) ENGINE = ReplacingMergeTree ORDER BY x", want: "ok"},
		{user: MigratorUser, sql: "ALTER TABLE millrace.m ADD COLUMN y UInt8", want: "ok"},
		{user: MigratorUser, sql: "ALTER TABLE millrace.t MODIFY SETTING fsync_after_insert = 1", want: "ok"},
		{user: MigratorUser, sql: "INSERT INTO millrace.m VALUES (1, 1)", want: "ok"},
		{user: MigratorUser, sql: "DELETE FROM millrace.m WHERE x = 1", want: "ok"},
		{user: MigratorUser, sql: "OPTIMIZE TABLE millrace.m FINAL", want: "ok"},
		{user: MigratorUser, sql: "DROP TABLE millrace.m", want: "ok"},
		{user: MigratorUser, sql: "DROP DATABASE millrace", want: "497"},
		{user: MigratorUser, sql: outside, want: "497"},
		{user: MigratorUser, sql: "CREATE USER u", want: "497"},
		{user: MigratorUser, sql: "CREATE TABLE millrace.f (x String) ENGINE = File('CSV')", want: "497"},
		{user: MigratorUser, sql: "SELECT * FROM file('/etc/hostname', 'LineAsString', 'l String')", want: "497"},

		// Nobody else comes in: the engine's own session is the only one of `default`.
		{user: "default", sql: "SELECT 1", want: "700"},
		{user: "", sql: "SELECT * FROM file('/etc/hostname', 'LineAsString', 'l String')", want: "700"},
		{user: "somebody", sql: "SELECT 1", want: "516"},
	} {
		name := tc.user + ": " + tc.sql
		password := map[string]string{
			WriterUser: cfg.Passwords.Writer, ReaderUser: cfg.Passwords.Reader, ScopedUser: cfg.Passwords.Reader,
			MigratorUser: cfg.Passwords.Migrator,
		}[tc.user]
		_, err := ask(t, s.Addrs(), tc.user, password, tc.sql, tc.settings...)
		var ex *exception
		switch {
		case err == nil:
			if tc.want != "ok" {
				t.Errorf("%s: allowed, want code %s", name, tc.want)
			}
		case errors.As(err, &ex):
			if ex.code != tc.want {
				t.Errorf("%s: want %s, got %v", name, tc.want, err)
			}
		default:
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, user := range []string{WriterUser, ReaderUser, ScopedUser, MigratorUser} {
		_, err := ask(t, s.Addrs(), user, "wrong", "SELECT 1")
		var ex *exception
		if !errors.As(err, &ex) || ex.code != "516" {
			t.Errorf("%s with a wrong password: %v, want code 516", user, err)
		}
	}
}

func TestPasswordsAreNotStored(t *testing.T) {
	p := NewPasswords()
	if p.Writer == p.Reader || p.Reader == p.Migrator || p == NewPasswords() {
		t.Fatalf("passwords repeat: %+v", p)
	}
	text := usersXML(p, true)
	for _, pw := range []string{p.Writer, p.Reader, p.Migrator} {
		if strings.Contains(text, pw) {
			t.Fatalf("users.xml holds the password itself")
		}
	}
	if strings.Contains(usersXML(p, false), "<default><password/>") {
		t.Fatal("a clickhouse binary needs no user without a password")
	}
}
