package query

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/services/query/problem"
	"github.com/millrace/millrace/services/query/reports"
)

// Reports over HTTP: with a receipt, from the cache, and with the keys of an access file, of which one sees one source only.
func TestReportsOverHTTP(t *testing.T) {
	r := newRig(t, 1)
	r.db.Exec(`INSERT INTO millrace.events (_shard, _seq, _idx, source, type, event, user_id, timestamp, received_at)
		SELECT 0, 1, number, if(number < 3, 'shop', 'bank'), 'track', 'Visited', toString(number), now64(3), now64(3) FROM numbers(10)`)
	file := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(file, []byte(`
keys:
  - {name: shop, key: the-key-of-the-shop, scopes: [reports], sources: [shop]}
  - {name: all, key: the-key-of-everybody, scopes: [reports], sources: ["*"]}
  - {name: curious, key: the-key-of-the-curious, scopes: [sql], sources: ["*"]}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, r.base = r.serve(func(c *Config) { c.AccessFile = file })
	get := func(key, path, query string) answer {
		t.Helper()
		return r.post(path, query, "", func(req *http.Request) {
			req.Method = http.MethodGet
			req.Header.Set("Authorization", "Bearer "+key)
		})
	}
	visits := func(key, query string) (n float64, a reports.Answer) {
		t.Helper()
		got := get(key, "/v1/reports/trend", query)
		var trend reports.Trend
		if err := json.Unmarshal([]byte(got.body), &a); err != nil || got.status != http.StatusOK {
			t.Fatalf("%d %s: %v", got.status, got.body, err)
		}
		if err := json.Unmarshal(a.Result, &trend); err != nil {
			t.Fatal(err)
		}
		return *trend.Series[0].Total, a
	}
	// The one that sees all asks first, so that the cache could tell the other.
	for _, tc := range []struct {
		key, query string
		want       float64
	}{
		{"the-key-of-everybody", "max_age=1h", 10},
		{"the-key-of-the-shop", "max_age=1h", 3},
		{"the-key-of-everybody", "source=bank", 7},
		{"the-key-of-everybody", "source=bank&source=shop&measure=users", 10},
		{"the-key-of-the-shop", "source=shop", 3},
	} {
		if n, a := visits(tc.key, tc.query); n != tc.want || a.Age != 0 {
			t.Errorf("%s with %s: %v, %v s old, want %v", tc.query, tc.key, n, a.Age, tc.want)
		}
	}
	if n, a := visits("the-key-of-the-shop", "max_age=1h"); n != 3 || a.Age == 0 {
		t.Errorf("once more: %v, %v s old", n, a.Age)
	}
	for _, tc := range []struct {
		key, path, query string
		status           int
		kind             problem.Kind
		says             string
	}{
		{"the-key-of-the-shop", "/v1/reports/trend", "source=bank", http.StatusForbidden, problem.Forbidden, "is not one that the key sees: shop"},
		{"the-key-of-the-shop", "/v1/reports/trend", "source=shop&source=bank", http.StatusForbidden, problem.Forbidden, "is not one that the key sees: shop"},
		{"the-key-of-the-curious", "/v1/reports/trend", "", http.StatusForbidden, problem.Forbidden, "scope reports"},
		{"the-key-of-nobody-here", "/v1/reports/trend", "", http.StatusUnauthorized, problem.Unauthorized, "API key"},
		{"the-key-of-the-shop", "/v1/reports/weather", "", http.StatusNotFound, problem.NotFound, "there are trend, top"},
		{"the-key-of-the-shop", "/v1/reports/trend", "last=soon", http.StatusBadRequest, problem.BadRequest, "want a number and a unit"},
		{"the-key-of-the-shop", "/v1/reports/trend", "after=nonsense", http.StatusBadRequest, problem.BadRequest, "receipt"},
		{"the-key-of-the-shop", "/v1/reports/trend", "after=0:9&timeout=1ms", http.StatusGatewayTimeout, problem.NotYet, "not all rows"},
	} {
		if a := get(tc.key, tc.path, tc.query); a.status != tc.status || !a.problem.Of(tc.kind) || !strings.Contains(a.problem.Detail, tc.says) {
			t.Errorf("%s?%s: %d %s, want %d and %q", tc.path, tc.query, a.status, a.body, tc.status, tc.says)
		}
	}
	if a := get("the-key-of-the-shop", "/v1/reports", ""); a.status != http.StatusOK || !strings.Contains(a.body, `"name":"retention"`) {
		t.Errorf("the list: %d %s", a.status, a.body)
	}
	// ClickHouse away: 503, to be asked again.
	if err := r.db.Kill(); err != nil {
		t.Fatal(err)
	}
	if a := get("the-key-of-everybody", "/v1/reports/top", ""); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
		t.Errorf("without ClickHouse: %d %s", a.status, a.body)
	}
	r.db.Start()
	if n, _ := visits("the-key-of-everybody", ""); n != 10 {
		t.Errorf("after its return: %v", n)
	}
}
