package query

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/libs/testkit"
	"github.com/millrace/millrace/services/query/reader"
)

const gateKeys = `
keys:
  - {name: analyst, key: the-key-of-the-analyst, scopes: [sql, reports], sources: ["*"]}
  - {name: other, key: the-key-of-the-other, scopes: [sql], sources: ["*"]}
  - {name: viewer, key: the-key-of-the-viewer, scopes: [reports], sources: [shop]}
  - {name: listener, key: the-key-of-the-listener, scopes: [live], sources: ["*"]}
  - {name: slow, key: the-key-of-the-slow-one, scopes: [sql], quota: {per_minute: 2}, sources: ["*"]}
  - {name: single, key: the-key-of-the-single, scopes: [sql], quota: {concurrent: 1}, sources: ["*"]}
  - {name: operator, key: the-key-of-the-operator, scopes: [admin], sources: ["*"]}
`

const perUser = `-- Events of each source.
--
-- @least = 1   Sources with fewer are left out.
-- @not         A source to leave out.
SELECT source, count() AS n FROM events WHERE source != {not:String} GROUP BY source HAVING n >= {least:UInt32} ORDER BY source`

func TestGate(t *testing.T) {
	r := newRig(t, 1)
	r.twoSources()
	dir := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("access.yaml", gateKeys)
	put("per-source.sql", perUser)
	r.svc, r.base = r.serve(func(c *Config) { c.AccessFile, c.Queries = filepath.Join(dir, "access.yaml"), dir })
	t.Run("scopes", func(t *testing.T) { keysOpenPaths(t, r) })
	t.Run("quotas", func(t *testing.T) { quotas(t, r) })
	t.Run("formats", func(t *testing.T) { formats(t, r) })
	t.Run("cancel", func(t *testing.T) { cancels(t, r) })
	t.Run("progress", func(t *testing.T) { tellsProgress(t, r) })
	t.Run("named", func(t *testing.T) { namedQueries(t, r, put) })
}

// with shows a key, and changes whatever else.
func with(name, method string, headers ...string) func(*http.Request) {
	return func(req *http.Request) {
		req.Header.Set("Authorization", "Bearer the-key-of-the-"+name)
		req.Method = method
		for i := 0; i+1 < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
	}
}

func keysOpenPaths(t *testing.T, r *rig) {
	for _, tc := range []struct {
		key, method, path string
		status            int
	}{
		{"analyst", "POST", "/v1/sql", 200},
		{"viewer", "POST", "/v1/sql", 403},
		{"listener", "POST", "/v1/sql", 403},
		{"operator", "POST", "/v1/sql", 403},
		{"unknown", "POST", "/v1/sql", 401},
		{"viewer", "GET", "/v1/queries", 200},
		{"other", "GET", "/v1/queries", 403},
		{"operator", "GET", "/v1/status", 200},
		{"analyst", "GET", "/v1/status", 403},
		{"analyst", "POST", "/v1/verify", 403},
		{"listener", "GET", "/openapi.json", 200},
		{"listener", "GET", "/nothing", 404},
		{"unknown", "GET", "/nothing", 401},
		{"listener", "PUT", "/v1/sql", 405},
	} {
		if a := r.post(tc.path, "", "SELECT 1", with(tc.key, tc.method)); a.status != tc.status {
			t.Errorf("%s %s %s: %d, want %d: %.300s", tc.key, tc.method, tc.path, a.status, tc.status, a.body)
		}
	}
}

func quotas(t *testing.T, r *rig) {
	for i := range 4 {
		a := r.post("/v1/sql", "", "SELECT 1", with("slow-one", "POST"))
		if over := i >= 2; over != (a.status == http.StatusTooManyRequests) || over && (a.problem.Code != "quota_exceeded" || a.header.Get("Retry-After") == "") {
			t.Errorf("question %d of a key with two a minute: %d %s", i+1, a.status, a.body)
		}
	}
	done := make(chan answer, 1)
	go func() { done <- r.post("/v1/sql", "", slow, with("single", "POST")) }()
	testkit.Eventually(t, "the first question runs", func() bool { return gauge(t, r.svc.metrics.running) == 1 })
	if a := r.post("/v1/sql", "", "SELECT 1", with("single", "POST")); a.status != http.StatusTooManyRequests {
		t.Errorf("a second question at once: %d %s", a.status, a.body)
	}
	if a := <-done; a.status != http.StatusOK {
		t.Errorf("the first question: %d %s", a.status, a.body)
	}
	if a := r.post("/v1/sql", "", "SELECT 1", with("single", "POST")); a.status != http.StatusOK {
		t.Errorf("a question after it: %d %s", a.status, a.body)
	}
	if got := gauge(t, r.svc.metrics.refused.WithLabelValues("slow")); got != 2 {
		t.Errorf("%v refusals are counted", got)
	}
}

func formats(t *testing.T, r *rig) {
	for _, tc := range []struct{ query, accept, sql, format, typ, begins string }{
		{"", "application/json", "SELECT 1 AS a", "JSON", "application/json", "{"},
		{"", "application/json, */*", "SELECT 1 AS a", "JSONEachRow", "application/x-ndjson", "{\"a\":1}"},
		{"", "text/csv", "SELECT 1 AS a", "CSVWithNames", "text/csv", "\"a\"\n1\n"},
		{"", "text/tab-separated-values", "SELECT 1 AS a", "TSVWithNames", "text/tab-separated-values", "a\n1\n"},
		{"", "application/vnd.apache.parquet", "SELECT 1 AS a", "Parquet", "application/octet-stream", "PAR1"},
		{"", "application/vnd.apache.arrow.stream", "SELECT 1 AS a", "ArrowStream", "application/octet-stream", "\xff\xff\xff\xff"},
		{"format=Arrow", "", "SELECT 1 AS a", "Arrow", "application/octet-stream", "ARROW1"},
		{"format=CSV", "application/json", "SELECT 1 AS a", "CSV", "text/csv", "1\n"},
		{"format=CSV", "application/json", "SELECT 1 AS a FORMAT TSV", "TSV", "text/tab-separated-values", "1\n"},
	} {
		a := r.post("/v1/sql", tc.query, tc.sql, with("analyst", "POST", "Accept", tc.accept))
		if a.status != http.StatusOK || a.header.Get(reader.HeaderFormat) != tc.format || !strings.HasPrefix(a.body, tc.begins) {
			t.Errorf("%s, Accept %q: %d, format %q, %.100q", tc.query, tc.accept, a.status, a.header.Get(reader.HeaderFormat), a.body)
		}
		if got := a.header.Get("Content-Type"); !strings.HasPrefix(got, tc.typ) {
			t.Errorf("%s: type %q, want %q", tc.format, got, tc.typ)
		}
	}
	// An error in the middle has a status, and the summary counts everything.
	a := r.post("/v1/sql", "whole=true", "SELECT throwIf(number = 900000, 'in the middle') FROM numbers(1000000) SETTINGS max_block_size = 1000", with("analyst", "POST"))
	if a.status != http.StatusBadRequest || a.err != nil || !strings.Contains(a.problem.Detail, "in the middle") {
		t.Errorf("whole, with an error: %d %v %.300s", a.status, a.err, a.body)
	}
	a = r.post("/v1/sql", "whole=true&query_id=chosen-by-the-client", "SELECT number FROM numbers(500000)", with("analyst", "POST"))
	var sum struct {
		ResultRows json.Number `json:"result_rows"`
	}
	if err := json.Unmarshal([]byte(a.header.Get(reader.HeaderSummary)), &sum); err != nil || sum.ResultRows != "500000" {
		t.Errorf("whole: summary %s, %v", a.header.Get(reader.HeaderSummary), err)
	}
	if id := a.header.Get(reader.HeaderQueryID); id != "chosen-by-the-client" {
		t.Errorf("the question is called %q", id)
	}
}

const endless = "SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 1"

// slow takes a second or so, and answers 0.
const slow = "SELECT count() AS a FROM numbers(15000000) WHERE sipHash64(number) = 1 SETTINGS max_threads = 1"

func cancels(t *testing.T, r *rig) {
	done := make(chan answer, 1)
	go func() { done <- r.post("/v1/sql", "query_id=a-long-question", endless, with("analyst", "POST")) }()
	testkit.Eventually(t, "the question runs", func() bool { return gauge(t, r.svc.metrics.running) == 1 })
	testkit.Eventually(t, "another of its name is refused", func() bool {
		a := r.post("/v1/sql", "query_id=a-long-question", "SELECT 1", with("analyst", "POST"))
		return a.status == http.StatusConflict && a.problem.Code == "conflict"
	})
	for key, status := range map[string]int{"other": 404, "viewer": 404, "unknown": 401} {
		if a := r.post("/v1/sql/a-long-question", "", "", with(key, "DELETE")); a.status != status {
			t.Errorf("%s ends a question of another: %d %s", key, a.status, a.body)
		}
	}
	// Another key may use the id for a question of its own, and learns nothing of this one.
	for _, query := range []string{"query_id=a-long-question", "query_id=a-long-question&whole=true"} {
		a := r.post("/v1/sql", query, "SELECT 1", with("other", "POST"))
		if a.status != http.StatusOK || a.header.Get(reader.HeaderQueryID) != "a-long-question" {
			t.Errorf("the id of another key's question: %d %q %s", a.status, a.header.Get(reader.HeaderQueryID), a.body)
		}
	}
	if got := gauge(t, r.svc.metrics.running); got != 1 {
		t.Errorf("%v questions run, want the long one", got)
	}
	if a := r.post("/v1/sql/a-long-question", "", "", with("analyst", "DELETE")); a.status != http.StatusNoContent {
		t.Errorf("cancel: %d %s", a.status, a.body)
	}
	if a := <-done; a.status != http.StatusConflict || a.problem.Code != "cancelled" {
		t.Errorf("the cancelled question: %d %s", a.status, a.body)
	}
	if a := r.post("/v1/sql/a-long-question", "", "", with("analyst", "DELETE")); a.status != http.StatusNotFound {
		t.Errorf("cancel again: %d %s", a.status, a.body)
	}
	// The operator ends any; a result that had begun is cut.
	go func() {
		done <- r.post("/v1/sql", "query_id=a-long-result", "SELECT number FROM numbers(1000000000000) SETTINGS max_block_size = 100, max_result_rows = 10000000, max_result_bytes = 4294967296", with("analyst", "POST"))
	}()
	testkit.Eventually(t, "its result has begun and it is ended", func() bool {
		return r.post("/v1/sql/a-long-result", "", "", with("operator", "DELETE")).status == http.StatusNoContent
	})
	if a := <-done; a.status == http.StatusOK && a.err == nil {
		t.Errorf("the result of %d bytes ends like a whole one", len(a.body))
	}
	testkit.Eventually(t, "the places are free again", func() bool { return gauge(t, r.svc.metrics.running) == 0 })
}

// event is one server-sent event.
type event struct{ name, data string }

// streamed asks for events; each is told as it comes to those who want to know.
func (r *rig) streamed(query, sql string, told ...func(event)) (int, []event) {
	r.Helper()
	req, err := http.NewRequestWithContext(r.Context(), http.MethodPost, r.base+"/v1/sql?"+query, strings.NewReader(sql))
	r.must(err)
	with("analyst", "POST", "Accept", "text/event-stream")(req)
	res, err := http.DefaultClient.Do(req)
	r.must(err)
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(res.Body)
		return res.StatusCode, []event{{data: string(text)}}
	}
	if typ := res.Header.Get("Content-Type"); typ != "text/event-stream" {
		r.Errorf("type %q", typ)
	}
	var list []event
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		switch field, value, _ := strings.Cut(lines.Text(), ": "); field {
		case "event":
			list = append(list, event{name: value})
		case "data":
			list[len(list)-1].data = value
			for _, tell := range told {
				tell(list[len(list)-1])
			}
		}
	}
	if err := lines.Err(); err != nil {
		list = append(list, event{"cut", err.Error()})
	}
	return res.StatusCode, list
}

func tellsProgress(t *testing.T, r *rig) {
	status, list := r.streamed("query_id=with-progress&param_n=3", "SELECT number, 'a\nb' AS s, arrayReduce('sum', arrayMap(x -> sipHash64(x, number), range(4000000))) FROM numbers({n:UInt8}) SETTINGS max_block_size = 1, max_threads = 1")
	if status != http.StatusOK || len(list) < 6 {
		t.Fatalf("%d %v", status, list)
	}
	count := map[string]int{}
	for _, e := range list {
		count[e.name]++
	}
	if list[0] != (event{"started", `{"query_id":"with-progress"}`}) || count["row"] != 3 || count["meta"] != 1 || count["progress"] < 2 {
		t.Errorf("%v", list)
	}
	// Its numbers are numbers, as those of done are.
	for _, e := range list {
		var told struct {
			ReadRows *int `json:"read_rows"`
		}
		if err := json.Unmarshal([]byte(e.data), &told); e.name == "progress" && (err != nil || told.ReadRows == nil) {
			t.Errorf("progress: %s, %v", e.data, err)
		}
	}
	var done struct {
		Rows     int     `json:"rows"`
		ReadRows int     `json:"read_rows"`
		Seconds  float64 `json:"seconds"`
	}
	last := list[len(list)-1]
	if err := json.Unmarshal([]byte(last.data), &done); err != nil || last.name != "done" || done.Rows != 3 || done.ReadRows != 3 || done.Seconds <= 0 {
		t.Errorf("the end: %v, %v", last, err)
	}
	_, list = r.streamed("", "SELECT throwIf(number = 90000, 'in the middle') FROM numbers(100000) SETTINGS max_block_size = 1000")
	if last := list[len(list)-1]; last.name != "error" || !strings.Contains(last.data, "in the middle") || !strings.Contains(last.data, `"query_id"`) {
		t.Errorf("an error in the middle: %v", last)
	}
	// A row is told up to 8 MiB, with what JSON adds to it.
	const row = 8<<20 - len(`{"row":{"s":""}}`)
	for n, want := range map[int]string{row: "done", row + 1: "error", 200 << 20: "error"} {
		_, list = r.streamed("", fmt.Sprintf("SELECT repeat(repeat('x', 1000), %d) || repeat('x', %d) AS s", n/1000, n%1000))
		if last := list[len(list)-1]; last.name != want || want == "error" && !strings.Contains(last.data, `"limit_exceeded"`) {
			t.Errorf("a row of %d bytes ends with %s %.300s", n, last.name, last.data)
		}
	}
	// It is told while the question runs, which ends only because it is cancelled then.
	cancelled := false
	_, list = r.streamed("query_id=without-an-end", endless, func(e event) {
		if e.name == "progress" && !cancelled {
			cancelled = true
			if a := r.post("/v1/sql/without-an-end", "", "", with("analyst", "DELETE")); a.status != http.StatusNoContent {
				t.Errorf("cancel: %d %s", a.status, a.body)
			}
		}
	})
	if last := list[len(list)-1]; last.name != "error" || !strings.Contains(last.data, `"cancelled"`) {
		t.Errorf("a cancelled question: %v", last)
	}
	for sql, want := range map[string]int{"SELEC 1": 400, "SELECT 1 FORMAT CSV": 400, "DROP TABLE events": 403} {
		if status, list := r.streamed("", sql); status != want {
			t.Errorf("%s: %d %v", sql, status, list)
		}
	}
	if status, list := r.streamed("whole=true", "SELECT 1"); status != http.StatusBadRequest {
		t.Errorf("whole: %d %v", status, list)
	}
}
