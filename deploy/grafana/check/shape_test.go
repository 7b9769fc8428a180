package check

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The kinds of panels that Grafana brings itself.
var kinds = []string{"row", "stat", "timeseries", "table", "bargauge", "piechart", "state-timeline"}

// TestShape reads what Grafana needs to load a dashboard, and a reader to understand it.
func TestShape(t *testing.T) {
	uids := map[string]string{}
	for _, file := range dashboards {
		b := readBoard(t, file)
		for _, problem := range b.problems(t) {
			t.Errorf("%s: %s", file, problem)
		}
		if other, taken := uids[b.UID]; taken {
			t.Errorf("%s and %s have the uid %s", other, file, b.UID)
		}
		uids[b.UID] = file
	}
}

func (b *board) problems(t *testing.T) (found []string) {
	add := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	// Below 39 Grafana migrates what it reads; 39 is of Grafana 11, the oldest that the plugin takes.
	if b.SchemaVersion < 39 || b.UID == "" || len(b.UID) > 40 || b.Title == "" || b.ID != nil || b.Time.To != "now" {
		add("schemaVersion %d, uid %q, title %q, id %v, time %+v", b.SchemaVersion, b.UID, b.Title, b.ID, b.Time)
	}
	declared, whole := map[string]bool{}, ""
	for _, v := range b.Templating.List {
		if declared[v.Name] || v.Label == "" {
			add("variable %q is declared twice or has no label", v.Name)
		}
		declared[v.Name] = true
		if v.Type == "query" {
			whole += v.asked(t) + v.Datasource.UID
		}
	}
	ids := map[int]bool{}
	for i, p := range b.Panels {
		name := fmt.Sprintf("panel %d (%s)", p.ID, p.Title)
		if p.ID <= 0 || ids[p.ID] || p.Title == "" || !slices.Contains(kinds, p.Type) {
			add("%s: its id is taken or its kind %q unknown", name, p.Type)
		}
		ids[p.ID] = true
		if g := p.Place; g.X < 0 || g.Y < 0 || g.W <= 0 || g.H <= 0 || g.X+g.W > 24 {
			add("%s: place %+v", name, g)
		}
		for _, q := range b.Panels[:i] {
			if a, c := p.Place, q.Place; a.X < c.X+c.W && c.X < a.X+a.W && a.Y < c.Y+c.H && c.Y < a.Y+a.H {
				add("%s lies on panel %d (%s)", name, q.ID, q.Title)
			}
		}
		if p.Type == "row" {
			continue
		}
		if len(p.Description) < 20 || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 {
			add("%s: no description, unit or query", name)
		}
		refs := map[string]bool{}
		for _, q := range p.Targets {
			if refs[q.RefID] || q.RefID == "" || q.Datasource != p.Datasource {
				add("%s: refId %q is taken, or the datasource is not the panel's", name, q.RefID)
			}
			refs[q.RefID] = true
			whole += q.RawSQL + q.Expr + q.Datasource.UID
			for _, problem := range q.problems(p.Type) {
				add("%s: %s", name, problem)
			}
		}
	}
	for _, used := range regexp.MustCompile(`\$\{?(\w+)`).FindAllStringSubmatch(whole, -1) {
		if !declared[used[1]] && !strings.HasPrefix(used[1], "__") {
			add("$%s is used and not declared", used[1])
		}
	}
	for name := range declared {
		if !regexp.MustCompile(`\$\{?` + name + `\b`).MatchString(whole) {
			add("variable %s is not used", name)
		}
	}
	return found
}

// problems of a query, in a panel of a kind.
func (q *target) problems(kind string) (found []string) {
	add := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	switch q.Datasource {
	case source{clickhouseType, "${clickhouse}"}:
		shape := map[bool]string{true: "0 timeseries", false: "1 table"}[kind == "timeseries"]
		if got := fmt.Sprint(q.Format, " ", q.QueryType); q.EditorType != "sql" || got != shape || q.Expr != "" {
			add("SQL of %s %s, want sql %s", q.EditorType, got, shape)
		}
		if !strings.Contains(q.RawSQL, "$__timeFilter(") && !strings.Contains(q.RawSQL, "$__fromTime") {
			add("its SQL does not ask for the time of the dashboard")
		}
	case source{prometheusType, "${prometheus}"}:
		if q.RawSQL != "" || q.Range == q.Instant {
			add("PromQL with SQL, or neither instant nor over a range")
		}
		if strings.Contains(q.Expr, "[") && !strings.Contains(q.Expr, "[$__rate_interval]") {
			add("a span that does not follow the scrape interval: %s", q.Expr)
		}
	default:
		add("datasource %+v is not one that can be chosen", q.Datasource)
	}
	return found
}
