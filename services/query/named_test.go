package query

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/millrace/millrace/libs/testkit"
)

func namedQueries(t *testing.T, r *rig, put func(name, text string)) {
	get := func(key, path string, query url.Values, headers ...string) answer {
		t.Helper()
		return r.post(path, query.Encode(), "", with(key, http.MethodGet, headers...))
	}
	a := get("viewer", "/v1/queries", nil)
	if want := `{"queries":[{"name":"per-source","summary":"Events of each source.","params":[{"name":"not","type":"String","description":"A source to leave out."},` +
		`{"name":"least","type":"UInt32","description":"Sources with fewer are left out.","default":"1"}]}]}` + "\n"; a.body != want {
		t.Errorf("%d %s\nwant %s", a.status, a.body, want)
	}
	for _, tc := range []struct {
		key    string
		query  url.Values
		status int
		body   string
	}{
		{"analyst", url.Values{"not": {""}, "format": {"TSV"}}, 200, "bank\t1000\nshop\t1000\n"},
		{"analyst", url.Values{"not": {"bank"}, "format": {"TSV"}}, 200, "shop\t1000\n"},
		{"viewer", url.Values{"not": {""}, "format": {"TSV"}}, 200, "shop\t1000\n"},
		{"viewer", url.Values{"not": {"shop"}, "format": {"TSV"}}, 200, ""},
		{"analyst", url.Values{"not": {`\n' OR 1 --`}, "format": {"TSV"}}, 200, "bank\t1000\nshop\t1000\n"},
		{"analyst", url.Values{"not": {""}, "least": {"1001"}, "format": {"TSV"}}, 200, ""},
		{"analyst", url.Values{"not": {""}, "least": {"many"}}, 400, ""},
		{"analyst", url.Values{}, 400, ""},
		{"analyst", url.Values{"not": {""}, "param_not": {""}}, 400, ""},
		{"analyst", url.Values{"not": {"", "x"}}, 400, ""},
		{"other", url.Values{"not": {""}}, 403, ""},
	} {
		a := get(tc.key, "/v1/queries/per-source", tc.query)
		if a.status != tc.status || tc.status == 200 && a.body != tc.body {
			t.Errorf("%s %v: %d %s", tc.key, tc.query, a.status, a.body)
		}
	}
	var doc struct {
		Meta []struct{ Name, Type string }
		Data []struct {
			Source string
			N      json.Number
		}
		Rows       int
		Statistics struct{ Elapsed float64 }
	}
	a = get("analyst", "/v1/queries/per-source", url.Values{"not": {"shop"}})
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil || doc.Rows != 1 || doc.Data[0].Source != "bank" || doc.Meta[0].Name != "source" || doc.Statistics.Elapsed == 0 {
		t.Errorf("as JSON: %v %s", err, a.body)
	}
	if a := get("analyst", "/v1/queries/nothing", nil); a.status != http.StatusNotFound {
		t.Errorf("no such query: %d", a.status)
	}
	put("new.sql", "-- A new one.\nSELECT 42 AS a")
	testkit.Eventually(t, "the new query is there", func() bool {
		return get("analyst", "/v1/queries/new", url.Values{"format": {"TSV"}}).body == "42\n"
	})
	for key, shown := range map[string]bool{"viewer": true, "analyst": true, "listener": false, "other": false} {
		a := get(key, "/openapi.json", nil)
		if strings.Contains(a.body, `"/v1/queries/new"`) != shown || strings.Contains(a.body, "A source to leave out.") != shown || !strings.Contains(a.body, `"openapi":"3.1.0"`) {
			t.Errorf("the document for %s, with the named queries %t: %d %.200s", key, shown, a.status, a.body)
		}
	}
}
