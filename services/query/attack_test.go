package query

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The installation that is attacked holds rows of two sources. Whoever attacks has a key of one of them.
const (
	attackerKey = "the-key-of-the-shop"
	ownSource   = "shop"
	otherSource = "bank"
	otherUser   = "bankers-secret-user"
	costly      = "what it may cost" // with a key that has two seconds for a question
)

const attackerFile = `
keys:
  - name: attacker
    key: ` + attackerKey + `
    scopes: [sql, reports]
    sources: [` + ownSource + `]
  - name: spender
    key: the-key-of-the-spender
    scopes: [sql]
    sources: [` + ownSource + `]
    quota: {max_time: 2s}
  - name: auditor
    key: the-key-of-the-auditor
    scopes: [sql]
    sources: ["*"]
`

// attack is one attempt, and how it is refused: with a status, and ClickHouse's code (0: refused before ClickHouse).
type attack struct {
	query, sql string
	status     int
	code       int
}

// attacks are made with a key of one source, and each is refused: with a status, a code, and words that say what to do
// instead. What of the SQL is only a question, and is answered, is in ordinary.
var attacks = map[string][]attack{
	"rows of another source": {
		{sql: "SELECT count() FROM events FINAL", status: 400, code: 181},
		{sql: "SELECT count() FROM loop(events)", status: 403, code: 497},
		{sql: "SELECT count() FROM merge('millrace', '.*')", status: 400, code: 49},
		{sql: "SELECT version_id FROM schema_migrations", status: 403, code: 497},
		// The index holds keys of all sources, and plans tell how much there is.
		{sql: "SELECT * FROM mergeTreeIndex('millrace', 'events')", status: 403},
		{sql: "SELECT * FROM mergeTreeIndex(currentDatabase(), 'events', with_marks = true)", status: 403},
		{sql: "SELECT * FROM `mergeTreeIndex`('millrace', 'events')", status: 403},
		{sql: "SELECT * FROM \"mergeTreeIndex\"('millrace', 'events')", status: 403},
		{sql: "SELECT * FROM `\\x6dergeTreeIndex`('millrace', 'events')", status: 403},
		{sql: "SELECT * FROM /* ' */ mergeTreeIndex('millrace', 'events') -- '", status: 403},
		{sql: "SELECT $$'$$, * FROM mergeTreeIndex('millrace', 'events') WHERE $$'$$ != ''", status: 403},
		{sql: "SELECT * FROM MERGETREEINDEX('millrace', 'events')", status: 403},
		{query: "param_f=mergeTreeIndex", sql: "SELECT * FROM {f:Identifier}('millrace', 'events')", status: 400, code: 62},
		{sql: "SELECT * FROM mergeTreeAnalyzeIndexes('millrace', 'events')", status: 403},
		{sql: "SELECT * FROM mergeTreeAnalyzeIndexesUUID('millrace', 'events')", status: 403},
		{sql: "SELECT * FROM mergeTreeProjection('millrace', 'events', 'x')", status: 403},
		{sql: "SELECT * FROM mergeTreeTextIndex('millrace', 'events', 'by_user')", status: 403},
		{sql: "SELECT 1 > .5FROM mergeTreeIndex('millrace', 'events')", status: 403},
		{sql: "SELECT 1 > .5FROM .5mergeTreeIndex('millrace', 'events')", status: 403},
		{sql: "EXPLAIN indexes = 1 SELECT count() FROM events", status: 403},
		{sql: "explain estimate SELECT * FROM events", status: 403},
		{sql: "SELECT * FROM (EXPLAIN indexes = 1 SELECT count() FROM events)", status: 403},
		{sql: "SELECT * FROM viewExplain('EXPLAIN', 'indexes = 1', (SELECT count() FROM events))", status: 403},
	},
	"who the question says it is": {
		{query: "query_id=mine@bank", sql: "SELECT 1", status: 400},
		{query: "query_id=chosen%40bank", sql: "SELECT count() FROM events", status: 400},
		{query: "initial_query_id=mine@bank", sql: "SELECT 1", status: 400},
		{query: "user=millrace_reader", sql: "SELECT 1", status: 400},
		{query: "password=x", sql: "SELECT 1", status: 400},
		{query: "role=x", sql: "SELECT 1", status: 400},
		{query: "session_id=x", sql: "SELECT 1", status: 400},
		{query: "database=system", sql: "SELECT 1", status: 400},
		{query: "query=SELECT+2", sql: "SELECT 1", status: 400},
		{query: "buffer_size=0", sql: "SELECT 1", status: 400},
		{query: "compress=1", sql: "SELECT 1", status: 400},
		{sql: "EXECUTE AS millrace_reader SELECT count() FROM events", status: 403, code: 344},
		{sql: "SELECT getClientHTTPHeader('X-ClickHouse-Key')", status: 403, code: 446},
		{sql: "SHOW CREATE USER", status: 403, code: 497},
		{sql: "SET ROLE ALL", status: 403},
		{sql: "/* a */ set role none", status: 403},
		{sql: "SET max_threads = 1", status: 403},
		{sql: "USE millrace", status: 403},
		{sql: "SHOW ROW POLICIES", status: 403, code: 497},
		{sql: "SHOW CREATE ROW POLICY ON events", status: 403, code: 497},
	},
	"files of the server": {
		{sql: "SELECT file('/etc/hostname')", status: 403},
		{sql: "SELECT * FROM file('/etc/hostname', 'LineAsString', 'l String')", status: 403},
		{sql: "SELECT `file`('/etc/hostname')", status: 403},
		{sql: "SELECT arrayMap(file, ['/etc/hostname'])", status: 403},
		{query: "param_f=file", sql: "SELECT arrayMap({f:Identifier}, ['/etc/hostname'])", status: 403},
		{sql: "SELECT 1 > .5file('/etc/hostname')", status: 403},
		{sql: "SELECT .5AS a, .efile('/etc/hostname')", status: 403},
		{sql: "SELECT 1e--file('/etc/hostname')", status: 403},
		{sql: "SELECT 1 \\Gfile('/etc/hostname')", status: 403},
		{sql: "SELECT $$x$$file('/etc/hostname')", status: 403},
		{sql: "SELECT .5catboostEvaluate('/etc/hostname', 1)", status: 403},
		{sql: "SELECT * FROM fileCluster('default', '/etc/hostname')", status: 403, code: 701},
		{sql: "SELECT * FROM filesystem('/etc')", status: 403, code: 497},
		{sql: "SELECT * FROM sqlite('/etc/x', 't')", status: 403, code: 497},
		{sql: "SELECT * FROM icebergLocal('/etc')", status: 403, code: 497},
		{sql: "SELECT * FROM paimonLocal('/etc')", status: 403, code: 497},
		{sql: "SELECT * FROM deltaLakeLocal('/etc')", status: 403, code: 497},
		{sql: "SELECT * FROM executable('x', 'TSV', 'a String')", status: 403, code: 497},
		{sql: "SELECT 1 INTO OUTFILE '/tmp/x'", status: 403, code: 358},
		{sql: "SELECT * FROM events INTO OUTFILE '/tmp/x' APPEND", status: 403, code: 358},
		{sql: "SELECT 1 SETTINGS format_template_resultset = '/etc/hostname' FORMAT Template", status: 403, code: 164},
		{sql: "SELECT 1 SETTINGS format_schema = '/etc/hostname:m' FORMAT Protobuf", status: 403, code: 164},
		{sql: "BACKUP TABLE events TO Disk('a', 'b')", status: 403, code: 497},
		{sql: "SELECT catboostEvaluate('/etc/hostname', 1)", status: 403},
	},
	"other servers": {
		{sql: "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString', 'l String')", status: 403, code: 497},
		{sql: "DESCRIBE url('http://127.0.0.1:1/')", status: 403, code: 497},
		{sql: "SELECT * FROM urlCluster('default', 'http://127.0.0.1:1/')", status: 403, code: 701},
		{sql: "SELECT * FROM remote('127.0.0.1:1', millrace.events)", status: 403, code: 497},
		{sql: "SELECT * FROM remote('127.0.0.1', view(SELECT * FROM millrace.events))", status: 403, code: 497},
		{sql: "SELECT * FROM remoteSecure('127.0.0.1:1', 'millrace', 'events')", status: 403, code: 497},
		{sql: "SELECT * FROM cluster('default', millrace.events)", status: 403, code: 701},
		{sql: "SELECT * FROM clusterAllReplicas('default', system.one)", status: 403},
		{sql: "SELECT * FROM s3('http://127.0.0.1:1/bucket/x.csv')", status: 403, code: 497},
		{sql: "SELECT * FROM gcs('http://127.0.0.1:1/bucket/x.csv', 'CSV', 'a String')", status: 403, code: 497},
		{sql: "SELECT * FROM azureBlobStorage('http://127.0.0.1:1/x', 'a', 'b')", status: 403, code: 497},
		{sql: "SELECT * FROM hdfs('hdfs://127.0.0.1:1/x', 'CSV', 'a String')", status: 403, code: 497},
		{sql: "SELECT * FROM postgresql('127.0.0.1:1', 'd', 't', 'u', 'p')", status: 403, code: 497},
		{sql: "SELECT * FROM mysql('127.0.0.1:1', 'd', 't', 'u', 'p')", status: 403, code: 497},
		{sql: "SELECT * FROM mongodb('127.0.0.1:1', 'd', 't', 'u', 'p', 'a String')", status: 403, code: 497},
		{sql: "SELECT * FROM redis('127.0.0.1:1', 'k', 'k String, v String')", status: 403, code: 497},
		{sql: "SELECT * FROM jdbc('x', 'y', 'z')", status: 403, code: 497},
		{sql: "SELECT * FROM odbc('x', 'y', 'z')", status: 403, code: 497},
		{sql: "SELECT * FROM ytsaurus('http://127.0.0.1:1', '//a', 'x', 'a Int8')", status: 403, code: 497},
		{sql: "SELECT * FROM deltaLake('http://127.0.0.1:1/bucket/x')", status: 403, code: 497},
	},
	"system tables": {
		{sql: "SELECT * FROM system.processes", status: 403},
		{sql: "SELECT * FROM system.users", status: 403},
		{sql: "SELECT * FROM system.row_policies", status: 403},
		{sql: "SELECT * FROM system.grants", status: 403},
		{sql: "SELECT * FROM system.parts", status: 403},
		{sql: "SELECT * FROM system.parts_columns", status: 403},
		{sql: "SELECT * FROM system.query_log", status: 403},
		{sql: "SELECT * FROM system.query_cache", status: 403},
		{sql: "SELECT * FROM system.server_settings", status: 403},
		{sql: "SELECT * FROM system.macros", status: 403},
		{sql: "SELECT * FROM system.disks", status: 403},
		{sql: "SELECT * FROM system.data_skipping_indices", status: 403},
		{sql: "SELECT * FROM information_schema.tables", status: 403, code: 497},
		{sql: "SHOW PROCESSLIST", status: 403, code: 497},
		{sql: "SHOW INDEX FROM events", status: 403, code: 497},
		{sql: "SELECT * FROM events, system.processes", status: 403},
		{sql: "SELECT * FROM view(SELECT * FROM system.processes)", status: 403},
		{sql: "USE system", status: 403},
		{sql: "SELECT name, total_rows FROM system.tables", status: 403},
		{sql: "SELECT name, data_compressed_bytes FROM `system` . `columns`", status: 403},
		{sql: "SELECT name, data_path FROM SYSTEM/* */.databases", status: 403},
		{sql: "SELECT name FROM \"s\\x79stem\".tables", status: 403},
		{query: "param_t=system.tables", sql: "SELECT name FROM {t:Identifier}", status: 403},
		{query: "param_d=system", sql: "SELECT name FROM {d:Identifier}.tables", status: 403},
		{sql: "SELECT .5FROM system.processes", status: 403},
		{sql: "SELECT .5, $$a$$system.tables FROM events", status: 403},
		{sql: "SELECT total_rows FROM merge(REGEXP('sys.*'), '^tables$')", status: 400, code: 636},
		{sql: "SELECT * FROM merge('system', '^processes$')", status: 400, code: 636},
	},
	"settings and rights": {
		{sql: "SELECT 1 SETTINGS readonly = 0", status: 403, code: 164},
		{sql: "SET readonly = 0", status: 403},
		{sql: "SELECT 1 SETTINGS max_execution_time = 5000", status: 403, code: 452},
		{sql: "SELECT 1 SETTINGS max_execution_time = 0", status: 403, code: 452},
		{sql: "SELECT 1 SETTINGS max_result_rows = 0", status: 403, code: 452},
		{sql: "SELECT 1 SETTINGS max_memory_usage = 0", status: 403, code: 452},
		{sql: "SELECT 1 SETTINGS result_overflow_mode = 'break'", status: 403, code: 164},
		{sql: "SELECT 1 SETTINGS max_concurrent_queries_for_user = 0", status: 403, code: 164},
		{sql: "SELECT 1 SETTINGS use_query_cache = 1", status: 403, code: 164},
		{sql: "SELECT 1 SETTINGS use_query_condition_cache = 1", status: 403, code: 164},
		{sql: "SELECT 1 SETTINGS additional_table_filters = {'events': '1'}", status: 403, code: 164},
		{sql: "SELECT 1 SETTINGS dialect = 'kusto'", status: 403, code: 164},
		{sql: "SELECT 1 SETTINGS allow_experimental_eval_table_function = 1", status: 403, code: 164},
		{sql: "SELECT 1 SETTINGS profile = 'launcher'", status: 403},
		{sql: "SELECT getSetting('readonly') SETTINGS profile = 'default'", status: 403},
		{sql: "SELECT getSetting('readonly') SETTINGS max_threads = 1, `profile` = 'default'", status: 403},
		// ClickHouse would not check these.
		{sql: "SELECT * FROM (SELECT getSetting('readonly') SETTINGS readonly = 0)", status: 403},
		{sql: "SELECT * FROM (SELECT * FROM eval('SELECT fi' || 'le(''/etc/hostname'')') SETTINGS allow_experimental_eval_table_function = 1)", status: 403},
		{sql: "SELECT * FROM eval('SELECT 1') SETTINGS allow_experimental_eval_table_function = 1 UNION ALL SELECT 2", status: 403},
		{sql: "SELECT * FROM eval('SELECT 1') settings allow_experimental_eval_table_function = 1 /* ; */ Intersect SELECT 1", status: 403},
		{sql: "SELECT getSetting('readonly') SETTINGS readonly = 0 EXCEPT SELECT 2", status: 403},
		{sql: "WITH x AS (SELECT getSetting('readonly') AS r SETTINGS readonly = 0) SELECT * FROM x", status: 403},
		{sql: "SELECT (SELECT getSetting('readonly') SETTINGS readonly = 0)", status: 403},
		{sql: "SELECT 1 WHERE 1 IN (SELECT 1 SETTINGS readonly = 0)", status: 403},
		{sql: "SELECT * FROM view(SELECT sleep(3) SETTINGS function_sleep_max_microseconds_per_block = 3000000)", status: 403},
		{sql: "DESCRIBE (SELECT 1 SETTINGS readonly = 0)", status: 403},
		{sql: "SELECT $$'$$, * FROM (SELECT 1 SETTINGS readonly = 0) WHERE $$'$$ != ''", status: 403},
		{sql: "SELECT 1 # '\n, (SELECT 1 SETTINGS readonly = 0) # '", status: 403},
		// What is a number to ClickHouse goes over into a word, or into a comment that is none.
		{sql: "SELECT * FROM (SELECT * FROM eval('SELECT fi'||'le(''/etc/hostname'')') WHERE 1 > .5settings allow_experimental_eval_table_function = 1)", status: 403},
		{sql: "SELECT * FROM (SELECT 1e--settings\n WHERE 1 > .5settings readonly = 0)", status: 403},
		{sql: "SELECT 0x1p--\n(SELECT 1 SETTINGS readonly = 0)", status: 403},
		{sql: "SELECT 1 AS `1e`, 1e--1, (SELECT 1 SETTINGS readonly = 0)", status: 403},
		{sql: "SELECT 1 SETTINGS max_execution_time=.5union all SELECT * FROM eval('SELECT 1') SETTINGS max_threads = 1", status: 403},
		{sql: "SELECT 1 SETTINGS readonly = 0 PARALLEL WITH SELECT 2", status: 403},
		{sql: "SELECT 1 UNION ALL SELECT * FROM eval('SELECT 1') SETTINGS allow_experimental_eval_table_function = 1", status: 403, code: 164},
		{sql: "SELECT 1 SETTINGS max_threads = 1 SETTINGS readonly = 0", status: 403, code: 164},
		{sql: "SELECT 1 FORMAT JSON SETTINGS readonly = 0", status: 403, code: 164},
		{sql: "SELECT 1; SELECT 2", status: 400, code: 62},
		{sql: "SELECT 1; DROP TABLE events", status: 400, code: 62},
		{sql: "INSERT INTO events (_seq) VALUES (1)", status: 403, code: 497},
		{sql: "INSERT INTO FUNCTION null('x UInt8') VALUES (1)", status: 403, code: 497},
		{sql: "CREATE TABLE x (a Int8) ENGINE = Memory", status: 403, code: 497},
		{sql: "CREATE TEMPORARY TABLE x (a Int8)", status: 403, code: 497},
		{sql: "CREATE VIEW x SQL SECURITY DEFINER AS SELECT * FROM events", status: 403, code: 497},
		{sql: "CREATE FUNCTION f AS (x) -> x", status: 403, code: 497},
		{sql: "ALTER TABLE events DELETE WHERE 1", status: 403, code: 497},
		{sql: "DELETE FROM events WHERE 1", status: 403, code: 497},
		{sql: "TRUNCATE TABLE events", status: 403, code: 497},
		{sql: "DROP TABLE events", status: 403, code: 497},
		{sql: "DROP ROW POLICY p ON events", status: 403, code: 497},
		{sql: "OPTIMIZE TABLE events", status: 403, code: 497},
		{sql: "CHECK TABLE events", status: 403, code: 497},
		{sql: "SYSTEM STOP LISTEN HTTP", status: 403, code: 497},
		{sql: "SYSTEM FLUSH LOGS", status: 403, code: 497},
		{sql: "KILL QUERY WHERE 1", status: 403, code: 497},
		{sql: "GRANT SELECT ON *.* TO millrace_scoped", status: 403, code: 497},
		{sql: "SELECT * FROM eval('SELECT 1')", status: 403, code: 344},
		{sql: "SELECT addressToLine(1)", status: 403, code: 497},
	},
	"dictionaries": {
		{sql: "SELECT dictGet('x', 'y', 1)", status: 400, code: 36},
		{sql: "SELECT * FROM dictionary('x')", status: 403, code: 497},
		{sql: "SELECT * FROM system.dictionaries", status: 403},
		{sql: "CREATE DICTIONARY d (k UInt64, v String) PRIMARY KEY k SOURCE(CLICKHOUSE(TABLE 'events')) LAYOUT(FLAT()) LIFETIME(1)", status: 403, code: 497},
		{sql: "SYSTEM RELOAD DICTIONARIES", status: 403, code: 497},
		{sql: "SELECT joinGet('events', 'user_id', 1)", status: 400, code: 43},
	},
	costly: {
		{sql: "SELECT number FROM numbers(2000000) FORMAT Null", status: 422, code: 396},
		{query: "whole=true", sql: "SELECT repeat('x', 1000000) FROM numbers(10) SETTINGS max_result_bytes = 1000000", status: 422, code: 396},
		{sql: "SELECT groupArray(number) FROM numbers(100000000) SETTINGS max_memory_usage = 10000000", status: 422, code: 241},
		{sql: "SELECT count() FROM numbers(100000000000) WHERE sipHash64(number) = 1 SETTINGS max_execution_time = 0.1", status: 504, code: 159},
		{sql: "SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 1", status: 504},
		{sql: "SELECT count() FROM numbers(1000000000) AS a, numbers(1000000000) AS b WHERE a.number + b.number = 1", status: 504},
		{sql: "SELECT count() FROM events AS a CROSS JOIN events AS b CROSS JOIN events AS c CROSS JOIN events AS d", status: 504},
		{sql: "SELECT sleep(3)", status: 403, code: 160},
		{sql: "SELECT sleepEachRow(1) FROM numbers(100)", status: 403, code: 160},
		{sql: "SELECT sum(sleepEachRow(0.001)) FROM events", status: 403, code: 160},
	},
}

// refusedAs are the codes of refusals by their status.
var refusedAs = map[int]string{400: "bad_request invalid_query", 403: "forbidden", 422: "limit_exceeded", 504: "timeout"}

func TestAttacks(t *testing.T) {
	r := newRig(t, 1)
	r.twoSources()
	file := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(file, []byte(attackerFile), 0o600); err != nil {
		t.Fatal(err)
	}
	_, r.base = r.serve(func(c *Config) { c.AccessFile = file })
	// There is something to find.
	a := r.post("/v1/sql", "format=TSV", "SELECT source, count(), any(user_id) FROM events GROUP BY source ORDER BY source", bearer("the-key-of-the-auditor"))
	if want := "bank\t1000\t" + otherUser + "\nshop\t1000\tbuyer\n"; a.body != want {
		t.Fatalf("the auditor sees %d %q, want %q", a.status, a.body, want)
	}
	for kind, list := range attacks {
		key := attackerKey
		if kind == costly {
			key = "the-key-of-the-spender"
		}
		t.Run(kind, func(t *testing.T) {
			for _, at := range list {
				name := strings.TrimSpace(at.query + " " + at.sql)
				a := r.ask(key, at.query, at.sql)
				if a.status != at.status || a.problem.ClickHouseCode != at.code || a.problem.Code == "" || !strings.Contains(refusedAs[a.status], a.problem.Code) {
					t.Errorf("%s: HTTP %d, %s, code %d; want %d, %d: %.400s", name, a.status, a.problem.Code, a.problem.ClickHouseCode, at.status, at.code, a.body)
				}
				if d := a.problem.Detail; !strings.Contains(d, ". Instead: ") && !strings.Contains(d, ": want ") && !strings.Contains(d, ": there are ") {
					t.Errorf("%s: it is not said what to do instead: %s", name, d)
				}
				if strings.Contains(a.body, otherUser) {
					t.Errorf("%s: the other source shows: %.400s", name, a.body)
				}
			}
		})
	}
	t.Run("ordinary", func(t *testing.T) {
		if a := r.ask(attackerKey, "", "DESCRIBE events"); a.status != http.StatusOK || !strings.Contains(a.body, "\nuser_id\tString\t") {
			t.Errorf("the columns: %d %s", a.status, a.body)
		}
		for _, q := range ordinary {
			if a := r.ask(attackerKey, q.query, q.sql); a.status != http.StatusOK || a.body != q.answer {
				t.Errorf("%s %s: %d %q, want %q", q.query, q.sql, a.status, a.body, q.answer)
			}
		}
	})
}

func bearer(key string) func(*http.Request) {
	return func(req *http.Request) { req.Header.Set("Authorization", "Bearer "+key) }
}

// ask is a question in SQL with a key; the answer is in TSV.
func (r *rig) ask(key, query, sql string) answer {
	r.Helper()
	if !strings.Contains(query, "format=") {
		query = strings.TrimPrefix(query+"&format=TSV", "&")
	}
	return r.post("/v1/sql", query, sql, bearer(key))
}
