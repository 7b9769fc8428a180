package sqlgate

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/schemas/api"
	"github.com/millrace/millrace/services/query/problem"
)

const orders = `-- Orders by day.
--
-- Days without an order
-- are left out.
--
-- @days = 30   How many days back.
-- @note = '{a b}'
-- @currency    Of the orders.
SELECT event_date, count() FROM events -- {not:String}
WHERE event_date > today() - {days:UInt16} AND properties['{quoted:String}'] = {currency:String} /* {nor:String} */
  AND mapContains({'a': 1}, 'a') AND {days:UInt16} > 0 AND toDateTime64({from: DateTime64(3, 'UTC')}, 3) < now() AND {note:String} != ''
GROUP BY event_date`

func TestParseNamed(t *testing.T) {
	q, err := parseNamed("orders", orders)
	if err != nil {
		t.Fatal(err)
	}
	if q.Name != "orders" || q.Summary != "Orders by day." || q.Description != "Days without an order\nare left out." || q.SQL != orders {
		t.Errorf("%+v", q)
	}
	want := []Param{
		{Name: "days", Type: "UInt16", Description: "How many days back.", Default: new("30")},
		{Name: "currency", Type: "String", Description: "Of the orders."},
		{Name: "from", Type: "DateTime64(3, 'UTC')"},
		{Name: "note", Type: "String", Default: new("{a b}")},
	}
	got, _ := json.Marshal(q.Params)
	wanted, _ := json.Marshal(want)
	if string(got) != string(wanted) {
		t.Errorf("parameters\n%s\nwant\n%s", got, wanted)
	}
	for what, tc := range map[string]struct{ name, sql string }{
		"no comment":           {"a", "SELECT 1"},
		"comment without word": {"a", "--\nSELECT 1"},
		"no SQL":               {"a", "-- Nothing.\n"},
		"only comments":        {"a", "-- Nothing.\n/* SELECT 1 */"},
		"name":                 {"A b", "-- One.\nSELECT 1"},
		"name of a path":       {"../a", "-- One.\nSELECT 1"},
		"reserved":             {"a", "-- One.\nSELECT {format:String}"},
		"two types":            {"a", "-- One.\nSELECT {x:String}, {x:UInt8}"},
		"described, not there": {"a", "-- One.\n-- @y The y.\nSELECT {x:String}"},
		"described badly":      {"a", "-- One.\n-- @ x\nSELECT {x:String}"},
		"open quote":           {"a", "-- One.\nSELECT 'a"},
		"file":                 {"a", "-- One.\nSELECT file('/etc/hostname')"},
		"NUL":                  {"a", "-- One.\nSELECT 1\x00"},
		"long":                 {"a", "-- One.\nSELECT 1" + strings.Repeat(" ", MaxSQL)},
	} {
		if q, err := parseNamed(tc.name, tc.sql); err == nil {
			t.Errorf("%s: taken as %+v", what, q)
		}
	}
	if q, err := parseNamed("empty-default", "-- One.\n-- @x = ''  May be empty.\nSELECT {x:String}"); err != nil || q.Params[0].Default == nil || *q.Params[0].Default != "" {
		t.Errorf("%+v, %v", q, err)
	}
}

func put(t *testing.T, dir, name, sql string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(sql), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (c *Catalogue) names() (names []string) {
	for _, q := range c.List() {
		names = append(names, q.Name)
	}
	return names
}

func TestCatalogue(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "one.sql", "-- One.\nSELECT 1")
	put(t, dir, "two.sql", "-- Two.\nSELECT 2")
	put(t, dir, "notes.txt", "no query")
	put(t, dir, ".three.sql", "an editor's")
	synctest.Test(t, func(t *testing.T) {
		c, err := OpenCatalogue(dir, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		look := func(want ...string) {
			t.Helper()
			time.Sleep(reread + time.Second)
			synctest.Wait()
			if got := c.names(); !slices.Equal(got, want) {
				t.Errorf("queries %v, want %v", got, want)
			}
		}
		look("one", "two")
		put(t, dir, "one.sql", "-- One, changed.\nSELECT 11")
		put(t, dir, "four.sql", "-- Four.\nSELECT 4")
		look("four", "one", "two")
		if q, _ := c.Find("one"); q.Summary != "One, changed." {
			t.Errorf("not read again: %+v", q)
		}
		put(t, dir, "one.sql", "SELECT without a comment")
		if err := os.Remove(filepath.Join(dir, "two.sql")); err != nil {
			t.Fatal(err)
		}
		look("four", "one")
		if q, _ := c.Find("one"); q.Summary != "One, changed." {
			t.Errorf("a bad file replaced the query: %+v", q)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	if _, err := OpenCatalogue(dir, nil); !errors.Is(err, ErrNamed) || !strings.Contains(err.Error(), "one.sql") {
		t.Errorf("a bad file at the start: %v", err)
	}
	if _, err := OpenCatalogue(filepath.Join(dir, "none"), nil); err == nil {
		t.Error("a directory that is not there is taken")
	}
}

func gateWith(t *testing.T, name, sql string) *Gate {
	t.Helper()
	dir := t.TempDir()
	put(t, dir, name+".sql", sql)
	g, err := New(Config{Queries: dir, MaxConcurrent: 1, Document: api.Query})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestQuestion(t *testing.T) {
	g := gateWith(t, "orders", orders)
	ident := gateWith(t, "by", "-- By something.\nSELECT {d:Identifier} FROM events")
	for _, tc := range []struct {
		what   string
		g      *Gate
		name   string
		given  map[string]string
		status int
	}{
		{"all that is needed", g, "orders", map[string]string{"currency": "EUR", "from": "2026-01-01"}, 0},
		{"no such query", g, "order", nil, 404},
		{"missing", g, "orders", map[string]string{"currency": "EUR"}, 400},
		{"unknown", g, "orders", map[string]string{"currency": "EUR", "from": "2026-01-01", "max_threads": "1"}, 400},
		{"a column", ident, "by", map[string]string{"d": "event"}, 0},
		{"a function", ident, "by", map[string]string{"d": "file"}, 403},
	} {
		q, err := tc.g.Question(tc.name, tc.given)
		var p *problem.Problem
		if errors.As(err, &p); (err == nil) != (tc.status == 0) || p != nil && p.Status != tc.status {
			t.Errorf("%s: %v", tc.what, err)
		}
		if tc.what == "all that is needed" && (q.Values.Get("param_days") != "30" || q.Values.Get("param_currency") != "EUR") {
			t.Errorf("%s: %v", tc.what, q.Values)
		}
	}
}

func TestDocument(t *testing.T) {
	g := gateWith(t, "orders-by-day", orders)
	doc, err := document(g.cfg.Document, g.Named())
	if err != nil {
		t.Fatal(err)
	}
	all, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		OpenAPI string
		Paths   map[string]struct {
			Get struct {
				OperationID string
				Summary     string
				Parameters  []struct {
					Name, In string
					Required bool
					Schema   struct {
						Type    string
						Default any
					}
				}
				Responses map[string]any
			}
		}
	}
	if err := json.Unmarshal(all, &got); err != nil {
		t.Fatal(err)
	}
	get := got.Paths["/v1/queries/orders-by-day"].Get
	if !strings.HasPrefix(got.OpenAPI, "3.1") || get.OperationID != "query_orders_by_day" || get.Summary != "Orders by day." || len(get.Responses) == 0 {
		t.Fatalf("%+v", get)
	}
	days, note := get.Parameters[0], get.Parameters[1]
	if days.Name != "days" || days.Required || days.Schema.Type != "integer" || days.Schema.Default != 30.0 {
		t.Errorf("%+v", days)
	}
	if note.Name != "currency" || !note.Required || note.Schema.Type != "string" {
		t.Errorf("%+v", note)
	}
	for _, p := range get.Parameters {
		if p.In == "path" {
			t.Errorf("the name of the query is still a parameter: %+v", p)
		}
	}
}

func TestAccepted(t *testing.T) {
	for _, tc := range []struct {
		accept []string
		want   string
	}{
		{nil, ""},
		{[]string{"*/*"}, ""},
		{[]string{"application/json, text/plain, */*"}, ""},
		{[]string{"text/csv", "application/json"}, ""},
		{[]string{"application/json"}, "JSON"},
		{[]string{"Text/CSV; charset=utf-8"}, "CSVWithNames"},
		{[]string{"application/vnd.apache.parquet"}, "Parquet"},
		{[]string{"application/vnd.apache.arrow.stream"}, "ArrowStream"},
		{[]string{"text/event-stream"}, "JSONEachRowWithProgress"},
		{[]string{"nonsense;"}, ""},
	} {
		if got := accepted(http.Header{"Accept": tc.accept}); got != tc.want {
			t.Errorf("%q: %q, want %q", tc.accept, got, tc.want)
		}
	}
}
