package query

import (
	"net/http"
	"strings"
	"testing"

	"github.com/millrace/millrace/services/query/reader"
	"github.com/millrace/millrace/services/query/sqlgate"
)

// TestSQL runs everything that needs no fault on one pair of servers.
func TestSQL(t *testing.T) {
	r := newRig(t, 1)
	r.db.Exec("ALTER TABLE events MODIFY COMMENT 'for the tests'") // proves that the migrator works, and the reader below does not
	t.Run("answers", func(t *testing.T) { answers(t, r) })
	t.Run("refusals", func(t *testing.T) { refusals(t, r) })
	t.Run("requests", func(t *testing.T) { requests(t, r) })
	t.Run("cut", func(t *testing.T) { cutResults(t, r) })
}

func answers(t *testing.T, r *rig) {
	for _, tc := range []struct{ name, query, sql, want, format string }{
		{"default format", "", "SELECT 1 AS a, 'x' AS b", "{\"a\":1,\"b\":\"x\"}\n", "JSONEachRow"},
		{"format", "format=CSVWithNames", "SELECT 1 AS a", "\"a\"\n1\n", "CSVWithNames"},
		{"the FORMAT clause wins", "format=CSV", "SELECT 1 AS a FORMAT TSV", "1\n", "TSV"},
		{"parameters", "param_name=O%27Hara%20%C3%BC&param_n=7", "SELECT {name:String} AS a, {n:UInt8} AS b", "{\"a\":\"O'Hara ü\",\"b\":7}\n", "JSONEachRow"},
		{"the table", "", "SELECT count() AS n FROM events", "{\"n\":0}\n", "JSONEachRow"},
		{"with its database", "", "SELECT count() AS n FROM millrace.dead_letters", "{\"n\":0}\n", "JSONEachRow"},
		{"semicolon at the end", "", "SELECT 1 AS a;", "{\"a\":1}\n", "JSONEachRow"},
		{"comments", "", "-- it's one\nSELECT /* the 'file */ 1 AS a", "{\"a\":1}\n", "JSONEachRow"},
		{"empty result", "", "SELECT 1 WHERE 0", "", "JSONEachRow"},
		{"settings within bounds", "", "SELECT 1 AS a SETTINGS max_execution_time = 5", "{\"a\":1}\n", "JSONEachRow"},
		{"plan", "format=TSV", "EXPLAIN ESTIMATE SELECT * FROM events", "", "TSV"},
	} {
		a := r.sql(tc.query, tc.sql)
		if a.status != http.StatusOK || a.body != tc.want || a.err != nil {
			t.Errorf("%s: %d %q (%v), want %q", tc.name, a.status, a.body, a.err, tc.want)
		}
		if got := a.header.Get(reader.HeaderFormat); got != tc.format {
			t.Errorf("%s: format %q, want %q", tc.name, got, tc.format)
		}
		if !strings.HasPrefix(a.header.Get(reader.HeaderQueryID), "millrace-") || a.header.Get(reader.HeaderSummary) == "" {
			t.Errorf("%s: no query id of ours or no summary: %v", tc.name, a.header)
		}
	}
	// The body is SQL whatever its type says; ClickHouse itself would take a form apart.
	for _, typ := range []string{"", "application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "nonsense"} {
		a := r.post("/v1/sql", "", "SELECT 1 AS a", func(req *http.Request) { req.Header.Set("Content-Type", typ) })
		if a.status != http.StatusOK || a.body != "{\"a\":1}\n" {
			t.Errorf("content type %q: %d %s", typ, a.status, a.body)
		}
	}
}

// refusals are what the reader may not do, on the real engine: by ClickHouse, or where it would allow it, by us.
func refusals(t *testing.T, r *rig) {
	for _, tc := range []struct {
		query, sql string
		status     int
		code       int // of ClickHouse, 0: refused before it
	}{
		{"", "SELEC 1", 400, 62},
		{"", "SELECT nope", 400, 47},
		{"", "SELECT nope(1)", 400, 46},
		{"", "SELECT * FROM nope", 400, 60},
		{"", "SELECT plus(1)", 400, 42},
		{"", "SELECT plus(1, [])", 400, 43},
		{"", "SELECT intDiv(1, 0)", 400, 153},
		{"", "SELECT toUInt8('a')", 400, 6},
		{"", "SELECT {x:String}", 400, 456},
		{"param_x=a", "SELECT {x:UInt8}", 400, 457},
		{"format=Nonsense", "SELECT 1", 400, 73},
		{"", "SELECT 1; SELECT 2", 400, 62},
		{"", "SELECT 1; DROP TABLE events", 400, 62},
		{"", "SELECT 1 SETTINGS readonly = 0", 403, 164},
		{"", "SET readonly = 0", 403, 0},
		{"", "SELECT 1 SETTINGS max_execution_time = 5000", 403, 452},
		{"", "SELECT 1 SETTINGS max_result_rows = 0", 403, 452},
		{"", "SELECT 1 SETTINGS allow_experimental_eval_table_function = 1", 403, 164},
		{"", "SELECT 1 INTO OUTFILE '/tmp/x'", 403, 358},
		{"", "INSERT INTO events (_seq) VALUES (1)", 403, 497},
		{"", "INSERT INTO FUNCTION null('x UInt8') VALUES (1)", 403, 497},
		{"", "CREATE TABLE x (a Int8) ENGINE = Memory", 403, 497},
		{"", "CREATE TEMPORARY TABLE x (a Int8)", 403, 497},
		{"", "ALTER TABLE events DELETE WHERE 1", 403, 497},
		{"", "DELETE FROM events WHERE 1", 403, 497},
		{"", "TRUNCATE TABLE events", 403, 497},
		{"", "DROP TABLE events", 403, 497},
		{"", "OPTIMIZE TABLE events", 403, 497},
		{"", "SYSTEM STOP MERGES events", 403, 497},
		{"", "SYSTEM STOP LISTEN HTTP", 403, 497},
		{"", "KILL QUERY WHERE 1", 403, 497},
		{"", "GRANT SELECT ON *.* TO millrace_reader", 403, 497},
		{"", "EXECUTE AS millrace_writer SELECT 1", 403, 344},
		{"", "BACKUP TABLE events TO Disk('a', 'b')", 403, 497},
		{"", "USE system", 403, 0},
		{"", "SELECT * FROM system.processes", 403, 497},
		{"", "SELECT * FROM system.users", 403, 497},
		{"", "SELECT * FROM system.parts", 403, 497},
		{"", "SELECT * FROM system.server_settings", 403, 497},
		{"", "SELECT * FROM system.macros", 403, 497},
		{"", "SELECT * FROM information_schema.tables", 403, 497},
		{"", "SHOW PROCESSLIST", 403, 497},
		{"", "SELECT * FROM events, system.processes", 403, 497},
		{"", "SELECT * FROM view(SELECT * FROM system.processes)", 403, 497},
		{"", "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString', 'l String')", 403, 497},
		{"", "DESCRIBE url('http://127.0.0.1:1/')", 403, 497},
		{"", "SELECT * FROM remote('127.0.0.1:1', millrace.events)", 403, 497},
		{"", "SELECT * FROM remoteSecure('127.0.0.1:1', 'millrace', 'events')", 403, 497},
		{"", "SELECT * FROM s3('http://127.0.0.1:1/bucket/x.csv')", 403, 497},
		{"", "SELECT * FROM gcs('http://127.0.0.1:1/bucket/x.csv', 'CSV', 'a String')", 403, 497},
		{"", "SELECT * FROM azureBlobStorage('http://127.0.0.1:1/x', 'a', 'b')", 403, 497},
		{"", "SELECT * FROM hdfs('hdfs://127.0.0.1:1/x', 'CSV', 'a String')", 403, 497},
		{"", "SELECT * FROM postgresql('127.0.0.1:1', 'd', 't', 'u', 'p')", 403, 497},
		{"", "SELECT * FROM mysql('127.0.0.1:1', 'd', 't', 'u', 'p')", 403, 497},
		{"", "SELECT * FROM mongodb('127.0.0.1:1', 'd', 't', 'u', 'p', 'a String')", 403, 497},
		{"", "SELECT * FROM redis('127.0.0.1:1', 'k', 'k String, v String')", 403, 497},
		{"", "SELECT * FROM sqlite('/etc/x', 't')", 403, 497},
		{"", "SELECT * FROM filesystem('/etc')", 403, 497},
		{"", "SELECT * FROM icebergLocal('/etc')", 403, 497},
		{"", "SELECT * FROM executable('x', 'TSV', 'a String')", 403, 497},
		{"", "SELECT * FROM cluster('default', millrace.events)", 403, 701},
		{"", "SELECT * FROM eval('SELECT 1')", 403, 344},
		{"", "SELECT getClientHTTPHeader('X-ClickHouse-Key')", 403, 446},
		{"", "SELECT number FROM numbers(2000000) FORMAT Null", 422, 396},
		{"", "SELECT count() FROM numbers(100000000000) SETTINGS max_execution_time = 0.1", 504, 159},
		{"", "SELECT groupArray(number) FROM numbers(100000000) SETTINGS max_memory_usage = 10000000", 422, 241},

		// Settings that ClickHouse would not hold to the profile.
		{"", "SELECT * FROM (SELECT getSetting('readonly') SETTINGS readonly = 0)", 403, 0},
		{"", "SELECT * FROM (SELECT * FROM eval('SELECT fi' || 'le(''/etc/hostname'')') SETTINGS allow_experimental_eval_table_function = 1)", 403, 0},
		{"", "SELECT * FROM eval('SELECT 1') SETTINGS allow_experimental_eval_table_function = 1 UNION ALL SELECT 2", 403, 0},
		{"", "SELECT * FROM (SELECT * FROM eval('SELECT fi'||'le(''/etc/hostname'')') SETTINGS allow_experimental_eval_table_function = 1)", 403, 0},
		{"", "SELECT 1 SETTINGS readonly = 0 UNION ALL SELECT 2", 403, 0},
		{"", "SELECT file('/etc/hostname')", 403, 0},
		{"", "SELECT * FROM file('/etc/hostname', 'LineAsString', 'l String')", 403, 0},
		{"", "SELECT `file`('/etc/hostname')", 403, 0},
		{"", "SELECT \"file\"('/etc/hostname')", 403, 0},
		{"", "SELECT `\\x66ile`('/etc/hostname')", 403, 0},
		{"", "SELECT file /* */ ('/etc/hostname')", 403, 0},
		{"", "SELECT * APPLY(file) FROM (SELECT '/etc/hostname')", 403, 0},
		{"", "SELECT * APPLY file FROM (SELECT '/etc/hostname')", 403, 0},
		{"", "SELECT arrayMap(file, ['/etc/hostname'])", 403, 0},
		{"", "SELECT 'x' --'\n, file('/etc/hostname')", 403, 0},
		{"", "SELECT 'x' /*'*/, file('/etc/hostname')", 403, 0},
		{"", "SELECT /* /* */ ' */ file('/etc/hostname'), '", 403, 0},
		{"", "SELECT $$'$$, file('/etc/hostname'), $$'$$", 403, 0},
		{"", "SELECT ‘'’, file('/etc/hostname'), ‘'’", 403, 0},
		{"", "SELECT 1 # '\n, file('/etc/hostname') # '", 403, 0},
		{"", "SELECT 1 // '\n, file('/etc/hostname') // '", 403, 0},
		{"", "SELECT x'27', file('/etc/hostname')", 403, 0},
		{"param_f=file", "SELECT arrayMap({f:Identifier}, ['/etc/hostname'])", 403, 0},
		{"param_f=%5Cx66ile", "SELECT arrayMap({f:Identifier}, ['/etc/hostname'])", 403, 0},
		{"param_f=file", "SELECT arrayMap({f:identifier}, ['/etc/hostname'])", 403, 0},
	} {
		a := r.sql(tc.query, tc.sql)
		if a.status != tc.status || a.problem.ClickHouseCode != tc.code {
			t.Errorf("%s: HTTP %d, code %d: want %d, %d: %.300s", tc.sql, a.status, a.problem.ClickHouseCode, tc.status, tc.code, a.body)
			continue
		}
		if tc.code != 0 && (!strings.HasPrefix(a.problem.QueryID, "millrace-") || !strings.Contains(a.problem.Detail, "DB::")) {
			t.Errorf("%s: ClickHouse's words or the query id are lost: %s", tc.sql, a.body)
		}
		if retry := a.header.Get("Retry-After"); (retry != "") != (tc.status == 503) {
			t.Errorf("%s: Retry-After is %q", tc.sql, retry)
		}
	}
	// The word is free where it cannot be the function.
	for _, sql := range []string{
		"SELECT 'file' AS a", "SELECT properties['file'] FROM events", "SELECT 1 AS files, 2 AS file_name, 3 AS `a file`",
		"SELECT 1 -- file\n", "SELECT 1 /* file */", "SELECT match('a', '\\\\.file$')", "SELECT FileSize FROM (SELECT 1 AS FileSize)",
	} {
		if a := r.sql("", sql); a.status != http.StatusOK {
			t.Errorf("%s: %d %s", sql, a.status, a.body)
		}
	}
}

func requests(t *testing.T, r *rig) {
	for _, tc := range []struct {
		name, query, body string
		status            int
	}{
		{"empty body", "", "", 400},
		{"blank body", "", " \n\t", 400},
		{"NUL", "", "SELECT 1\x00", 400},
		{"bad format", "format=JSON%20", "SELECT 1", 400},
		{"format with a setting", "format=JSON%26readonly%3D0", "SELECT 1", 400},
		{"unknown parameter", "readonly=0", "SELECT 1", 400},
		{"setting of ClickHouse", "max_execution_time=1", "SELECT 1", 400},
		{"another user", "user=default", "SELECT 1", 400},
		{"SQL in the URL", "query=SELECT+1", "SELECT 1", 400},
		{"parameter without name", "param_=1", "SELECT 1", 400},
		{"given twice", "format=JSON&format=CSV", "SELECT 1", 400},
		{"bad escape", "format=%zz", "SELECT 1", 400},
		{"bad timeout", "timeout=5", "SELECT 1", 400},
		{"long timeout", "timeout=31s", "SELECT 1", 400},
		{"negative timeout", "timeout=-1s", "SELECT 1", 400},
		{"bad receipt", "after=x", "SELECT 1", 400},
		{"shard that is none", "after=9:1", "SELECT 1", 400},
		{"at the limit", "", "SELECT 1 AS a -- " + strings.Repeat("x", sqlgate.MaxSQL-len("SELECT 1 AS a -- ")), 200},
		{"over the limit", "", "SELECT 1 AS a -- " + strings.Repeat("x", sqlgate.MaxSQL-len("SELECT 1 AS a -- ")+1), 413},
	} {
		if a := r.sql(tc.query, tc.body); a.status != tc.status {
			t.Errorf("%s: %d, want %d: %.300s", tc.name, a.status, tc.status, a.body)
		}
	}
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodOptions, http.MethodDelete} {
		a := r.post("/v1/sql", "", "SELECT 1", func(req *http.Request) { req.Method = method })
		if a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != http.MethodPost {
			t.Errorf("%s: %d, Allow %q", method, a.status, a.header.Get("Allow"))
		}
	}
	if a := r.post("/nothing", "", ""); a.status != http.StatusNotFound {
		t.Errorf("unknown path: %d", a.status)
	}
}

// cutResults asks questions that fail after the first byte: a client must not take what came for the whole.
func cutResults(t *testing.T, r *rig) {
	for _, format := range []string{"JSONEachRow", "JSON", "CSV", "TSV", "Native", "RowBinary"} {
		a := r.sql("format="+format, "SELECT throwIf(number = 900000, 'in the middle') FROM numbers(1000000) SETTINGS max_block_size = 1000")
		if a.status != http.StatusOK {
			t.Errorf("%s: status %d: %s", format, a.status, a.body)
			continue
		}
		if a.err == nil {
			t.Errorf("%s: the cut result of %d bytes ends like a whole one", format, len(a.body))
		}
		tag := a.header.Get(reader.HeaderExceptionTag)
		if tag == "" || !strings.Contains(a.body, reader.ExceptionMark+tag+"\r\n") || !strings.Contains(a.body, "in the middle") {
			t.Errorf("%s: ClickHouse's mark is lost; the end is %q", format, a.body[max(0, len(a.body)-300):])
		}
	}
}
