package query

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/millrace/millrace/libs/testkit"
	"github.com/millrace/millrace/services/query/mcp"
)

// A tool answers what the path does.
func toolAnswers(t *testing.T, r *rig) {
	period := map[string]any{"from": "2026-01-01", "to": "2026-04-01"}
	merged := func(more map[string]any) map[string]any {
		all := map[string]any{}
		for _, m := range []map[string]any{period, more} {
			maps.Copy(all, m)
		}
		return all
	}
	get := func(key, path, query string) string {
		t.Helper()
		a := r.post(path, query, "", with(key, http.MethodGet))
		if a.status != http.StatusOK {
			t.Fatalf("%s?%s: %d %s", path, query, a.status, a.body)
		}
		return a.body
	}
	// What differs from one answer to the next is left out.
	same := func(name, got, want string) {
		t.Helper()
		var g, w map[string]any
		if err := json.Unmarshal([]byte(got), &g); err != nil {
			t.Fatalf("%s: %v: %s", name, err, got)
		}
		if err := json.Unmarshal([]byte(want), &w); err != nil {
			t.Fatal(err)
		}
		for _, passing := range []string{"as_of", "statistics", "at"} {
			delete(g, passing)
			delete(w, passing)
		}
		if !reflect.DeepEqual(g, w) {
			t.Errorf("%s: the tool answers %s, the path %s", name, got, want)
		}
	}
	for _, tc := range []struct {
		key, tool string
		args      map[string]any
		path      string
		query     url.Values
		has       string
	}{
		{
			"viewer", "trend", merged(map[string]any{"measure": "users", "interval": "month", "compare": true}), "/v1/reports/trend",
			url.Values{"from": {"2026-01-01"}, "to": {"2026-04-01"}, "measure": {"users"}, "interval": {"month"}, "compare": {"true"}},
			`"values":[1,0,0]`,
		},
		{
			"analyst", "trend", merged(map[string]any{"interval": "month", "after": nil, "event": nil}), "/v1/reports/trend",
			url.Values{"from": {"2026-01-01"}, "to": {"2026-04-01"}, "interval": {"month"}},
			`"values":[1000,1000,0]`,
		},
		{
			"analyst", "funnel", merged(map[string]any{"step": []string{"event of shop", "event of bank"}, "dropped": 1}), "/v1/reports/funnel",
			url.Values{"from": {"2026-01-01"}, "to": {"2026-04-01"}, "step": {"event of shop", "event of bank"}, "dropped": {"1"}},
			`"user":"buyer"`,
		},
		{
			"viewer", "timeline", merged(map[string]any{"user": "buyer", "limit": 3}), "/v1/reports/timeline",
			url.Values{"from": {"2026-01-01"}, "to": {"2026-04-01"}, "user": {"buyer"}, "limit": {"3"}},
			`"name":"event of shop"`,
		},
		{"asker", "user", map[string]any{"id": "buyer", "recent": 2, "anonymous": false}, "/v1/users/buyer", url.Values{"recent": {"2"}}, `"user":"buyer"`},
		{"asker", "user", map[string]any{"id": "no/such one?"}, "/v1/users/no%2Fsuch%20one%3F", nil, `"user":"no/such one?"`},
		{"operator", "status", nil, "/v1/status", nil, `"shards":[`},
	} {
		got := call(t, r.connect(tc.key, ""), tc.tool, tc.args)
		if got.wrong || !strings.Contains(got.text, tc.has) {
			t.Errorf("%s %v with the key %s: %s, want %s", tc.tool, tc.args, tc.key, got.text, tc.has)
			continue
		}
		same(tc.tool, got.text, get(tc.key, tc.path, tc.query.Encode()))
	}
	for _, version := range protocols {
		for _, tc := range []struct {
			key, tool string
			args      any
			want      string // the answer without its query id
		}{
			{
				"analyst", "sql",
				map[string]any{"sql": "SELECT source, count() AS n FROM events GROUP BY source ORDER BY source"},
				`{"columns":[{"name":"source","type":"LowCardinality(String)"},{"name":"n","type":"UInt64"}],"rows":[["bank", 1000],["shop", 1000]]}`,
			},
			{
				"asker", "sql",
				map[string]any{"sql": "SELECT source, count() AS n FROM events GROUP BY source"},
				`{"columns":[{"name":"source","type":"LowCardinality(String)"},{"name":"n","type":"UInt64"}],"rows":[["shop", 1000]]}`,
			},
			{
				"analyst", "sql",
				map[string]any{"sql": "SELECT {a:String} AS a, {b:UInt8} AS b, {c:Float64} AS c", "parameters": map[string]any{"a": "it's {b}", "b": 7, "c": 1.5}},
				`{"columns":[{"name":"a","type":"String"},{"name":"b","type":"UInt8"},{"name":"c","type":"Float64"}],"rows":[["it's {b}", 7, 1.5]]}`,
			},
			{"analyst", "sql", map[string]any{"sql": "SELECT 1 AS a WHERE 0"}, `{"columns":[{"name":"a","type":"UInt8"}],"rows":[]}`},
			{"viewer", "query_per-source", map[string]any{"not": "none"}, `{"columns":[{"name":"source","type":"LowCardinality(String)"},{"name":"n","type":"UInt64"}],"rows":[["shop", 1000]]}`},
			{"analyst", "query_per-source", map[string]any{"not": "shop", "least": 1000}, `{"columns":[{"name":"source","type":"LowCardinality(String)"},{"name":"n","type":"UInt64"}],"rows":[["bank", 1000]]}`},
		} {
			got := call(t, r.connect(tc.key, version), tc.tool, tc.args)
			bare, id, _ := strings.Cut(got.text, `,"query_id":"`)
			if bare+"}" != strings.ReplaceAll(tc.want, ", ", ",") || !strings.HasPrefix(id, "millrace-") {
				t.Errorf("%s %v: %s, want %s", tc.tool, tc.args, got.text, tc.want)
			}
		}
	}
	for table, has := range map[any]string{nil: `["user_id","String",`, "events": `["user_id","String",`, "dead_letters": `["original","String",`} {
		if got := call(t, r.connect("asker", ""), "columns", map[string]any{"table": table}); got.wrong || !strings.Contains(got.text, has) {
			t.Errorf("columns of %v: %s", table, got.text)
		}
	}
}

// What HTTP refuses, a tool refuses, in words that say what to do.
func toolErrors(t *testing.T, r *rig) {
	for _, tc := range []struct {
		key, tool string
		args      any
		code      string
		says      string
	}{
		{"viewer", "sql", map[string]any{"sql": "SELECT 1"}, "forbidden", "the key viewer has not the scope sql"},
		{"analyst", "status", nil, "forbidden", "has not the scope admin"},
		{"analyst", "user", map[string]any{"id": "buyer"}, "forbidden", "has not the scope ask"},
		{"asker", "top", nil, "forbidden", "has not the scope reports"},
		{"operator", "query_per-source", map[string]any{"not": ""}, "forbidden", "has not the scope reports"},
		{"viewer", "trend", map[string]any{"source": []string{"bank"}}, "forbidden", "is not one that the key sees: shop"},
		{"asker", "user", map[string]any{"id": "buyer", "source": "bank"}, "forbidden", "does not see the source bank"},
		{"viewer", "trend", map[string]any{"last": "soon"}, "bad_request", "want a number and a unit such as 90m"},
		{"viewer", "trend", map[string]any{"measure": "weight"}, "bad_request", "want one of count, users"},
		{"viewer", "trend", map[string]any{"weight": 1}, "bad_request", `the argument "weight" is unknown: there are after, by, compare`},
		{"viewer", "trend", map[string]any{"where": map[string]any{"a": 1}}, "bad_request", "where: want text, a number, true or false"},
		{"viewer", "trend", map[string]any{"limit": "many"}, "bad_request", "want a number from 1 to 100"},
		{"viewer", "trend", map[string]any{"after": "0:9", "timeout": "1ms"}, "not_yet", "not all rows"},
		{"viewer", "timeline", nil, "bad_request", "the argument user is missing"},
		{"viewer", "funnel", map[string]any{"step": []string{"one"}}, "bad_request", "a funnel has 2 to 10"},
		{"viewer", "query_per-source", nil, "bad_request", "the argument not is missing: there are after, least, not, timeout"},
		{"viewer", "query_per-source", map[string]any{"not": "", "least": "few"}, "invalid_query", ""},
		{"asker", "user", map[string]any{"id": ".."}, "bad_request", "the report timeline takes it"},
		{"asker", "user", map[string]any{"id": "x", "recent": 1000}, "bad_request", "want 1 to 50"},
		{"analyst", "columns", map[string]any{"table": "url('http://127.0.0.1:1/')"}, "bad_request", "there are events and dead_letters"},
		{"analyst", "sql", nil, "bad_request", "the argument sql is missing"},
		{"analyst", "sql", map[string]any{"sql": " "}, "bad_request", "the body is empty"},
		{"analyst", "sql", map[string]any{"sql": "SELECT 1", "max_rows": 1001}, "bad_request", "max_rows is 1001: want a number from 1 to 1000"},
		{"analyst", "sql", map[string]any{"sql": "SELECT 1", "parameters": "a"}, "bad_request", "parameters is no JSON object"},
		{"analyst", "sql", map[string]any{"sql": "SELECT 1", "parameters": map[string]any{"a b": 1}}, "bad_request", `parameter "param_a b" is unknown`},
		{"analyst", "sql", map[string]any{"sql": "SELECT 1", "format": "CSV"}, "bad_request", `the argument "format" is unknown`},
		{"analyst", "sql", map[string]any{"sql": "SELECT 1 FORMAT CSV"}, "bad_request", "leave FORMAT out"},
		{"analyst", "sql", map[string]any{"sql": "SELEC 1"}, "invalid_query", "Syntax error"},
		{"analyst", "sql", map[string]any{"sql": "SELECT nope FROM events"}, "invalid_query", "nope"},
		{"analyst", "sql", map[string]any{"sql": "SELECT 1; DROP TABLE events"}, "invalid_query", "Multi-statements are not allowed"},
		{"analyst", "sql", map[string]any{"sql": "DROP TABLE events"}, "forbidden", "Not enough privileges"},
		{"analyst", "sql", map[string]any{"sql": "INSERT INTO events (_seq) VALUES (1)"}, "forbidden", "Not enough privileges"},
		{"analyst", "sql", map[string]any{"sql": "SELECT 1 SETTINGS readonly = 0"}, "forbidden", "readonly"},
		{"analyst", "sql", map[string]any{"sql": "SELECT file('/etc/hostname')"}, "forbidden", "file"},
		{"analyst", "sql", map[string]any{"sql": "SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'a String')"}, "forbidden", ""},
		{"analyst", "sql", map[string]any{"sql": "SELECT 1 INTO OUTFILE '/tmp/x'"}, "forbidden", ""},
		{"asker", "sql", map[string]any{"sql": "EXPLAIN SELECT count() FROM events"}, "forbidden", "EXPLAIN"},
		{"analyst", "sql", map[string]any{"sql": "SELECT throwIf(number = 900, 'in the middle') FROM numbers(1000) SETTINGS max_block_size = 10", "max_rows": 1000}, "", "in the middle"},
		{"analyst", "sql", map[string]any{"sql": "SELECT '" + strings.Repeat("x", 20000) + "' + nope"}, "invalid_query", ""},
	} {
		got := call(t, r.connect(tc.key, ""), tc.tool, tc.args)
		if !got.wrong || !strings.Contains(got.text, tc.says) || tc.code != "" && (got.code != tc.code || !strings.Contains(got.text, "("+tc.code+")")) || len(got.text) > 5000 {
			t.Errorf("%s %.200v with the key %s: %v %s %s, want %s and %q", tc.tool, tc.args, tc.key, got.wrong, got.code, got.text, tc.code, tc.says)
		}
	}
	s := r.connect("slow-one", "")
	for i := range 4 {
		got := call(t, s, "sql", map[string]any{"sql": "SELECT 1"})
		if over := i >= 2; over != got.wrong || over && (got.code != "quota_exceeded" || !strings.Contains(got.text, "; ask again in ")) {
			t.Errorf("question %d of a key with two a minute: %+v", i+1, got)
		}
	}
	if _, err := s.CallTool(t.Context(), &sdk.CallToolParams{Name: "query_none"}); err == nil || !strings.Contains(err.Error(), `unknown tool "query_none"`) {
		t.Errorf("a tool that is not there: %v", err)
	}
}

// An answer has as many rows as are wanted and fits; what is too much ends the question.
func toolBounds(t *testing.T, r *rig) {
	for _, tc := range []struct {
		sql       string
		max, rows int // max 0: as it is without
		truncated bool
	}{
		{"SELECT number FROM numbers(100)", 0, 100, false},
		{"SELECT number FROM numbers(101)", 0, 100, true},
		{"SELECT number FROM numbers(1000000000000000)", 7, 7, true}, // nobody waits for its end
		{"SELECT number FROM numbers(1000)", 1000, 1000, false},
		{"SELECT number FROM numbers(7) SETTINGS max_block_size = 1", 7, 7, false},
		{"SELECT repeat('x', 1000), '\n' FROM numbers(1000)", 1000, 129, true},
	} {
		args := map[string]any{"sql": tc.sql}
		if tc.max > 0 {
			args["max_rows"] = tc.max
		}
		got := call(t, r.connect("analyst", ""), "sql", args)
		var rows mcp.Rows
		if err := json.Unmarshal([]byte(got.text), &rows); err != nil || got.wrong {
			t.Errorf("%s: %v %.300s", tc.sql, err, got.text)
			continue
		}
		if len(rows.Rows) != tc.rows || rows.Truncated != tc.truncated || (rows.Note != "") != tc.truncated || len(got.text) > mcp.MaxBytes+1000 {
			t.Errorf("%s: %d rows, %d bytes, truncated %t (%s)", tc.sql, len(rows.Rows), len(got.text), rows.Truncated, rows.Note)
		}
	}
	for _, tc := range []struct {
		tool string
		args map[string]any
		says string
	}{
		{"sql", map[string]any{"sql": "SELECT repeat('x', 200000)"}, "the first row is larger than 131072 bytes: select fewer or shorter columns"},
		{
			"retention",
			map[string]any{"from": "2025-01-01", "to": "2026-02-01", "interval": "day", "periods": 100, "compare": true},
			"the answer is larger than 131072 bytes: ask for a shorter period, a longer interval or a smaller limit",
		},
	} {
		if got := call(t, r.connect("analyst", ""), tc.tool, tc.args); got.code != "too_large" || !strings.Contains(got.text, tc.says) {
			t.Errorf("%s %v: %.300s, want %q", tc.tool, tc.args, got.text, tc.says)
		}
	}
	testkit.Eventually(t, "no question goes on", func() bool { return gauge(t, r.svc.metrics.running) == 0 })
}

// A question ends with the one who asked it.
func goneCallers(t *testing.T, r *rig) {
	for _, version := range protocols {
		s := r.connect("analyst", version)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := s.CallTool(ctx, &sdk.CallToolParams{Name: "sql", Arguments: map[string]any{"sql": "SELECT count() FROM numbers(1000000000000) WHERE NOT ignore(sipHash64(number))"}})
			done <- err
		}()
		testkit.Eventually(t, "the question runs", func() bool { return gauge(t, r.svc.metrics.running) == 1 })
		cancel()
		if err := <-done; err == nil {
			t.Error("a call that was given up has an answer")
		}
		testkit.Eventually(t, "the question has ended", func() bool { return gauge(t, r.svc.metrics.running) == 0 })
		if gauge(t, r.svc.metrics.requests.WithLabelValues("sql", "504")) != 0 {
			t.Errorf("in %s, the question went on until ClickHouse's own limit", version)
		}
	}
}

// What does not speak the protocol, or comes from elsewhere.
func toolRequests(t *testing.T, r *rig) {
	const list = `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`
	const newest = `{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}`
	both := []string{"Content-Type", "application/json", "Accept", "application/json, text/event-stream"}
	for _, tc := range []struct {
		name, key, method, body string
		headers                 []string
		status                  int
		says                    string
	}{
		{"a list", "operator", "POST", list, both, 200, `"name":"status"`},
		{"a call", "operator", "POST", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"status","arguments":{}}}`, both, 200, `\"shards\":[{\"shard\":0`},
		{"a number for arguments", "operator", "POST", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"status","arguments":5}}`, both, 200, `no JSON object`},
		{
			"waiting for news", "operator", "POST", `{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true},"_meta":` + newest + `}}`,
			append([]string{"Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "subscriptions/listen"}, both...), 200, `"result":`,
		}, // at once, since there is none
		{"a source's write key", "writer", "POST", list, both, 403, "is a write key, which may POST /v1/ask and nothing else"},
		{"no key", "nobody", "POST", list, both, 401, "send an API key"},
		{"GET", "operator", "GET", "", nil, 405, "/mcp takes POST only"},
		{"no JSON", "operator", "POST", "x", both, 400, ""},
		{"too long", "operator", "POST", strings.Repeat(" ", 2<<20), both, 413, ""},
	} {
		a := r.post(mcp.Path, "", tc.body, with(tc.key, tc.method, tc.headers...))
		if a.status != tc.status || !strings.Contains(a.body, tc.says) {
			t.Errorf("%s: %d %.500s, want %d and %q", tc.name, a.status, a.body, tc.status, tc.says)
		}
	}
}
