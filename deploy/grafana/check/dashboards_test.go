package check

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestDashboards has one installation for all that needs one.
func TestDashboards(t *testing.T) {
	in := start(t)
	in.live(t)
	g := newGrafana(t, in)
	for _, file := range dashboards {
		b := readBoard(t, file)
		opened := g.opens(t, b)
		t.Run(file, func(t *testing.T) { g.everyPanel(t, b, opened) })
		t.Run(file+" of one source and shard", func(t *testing.T) { g.everyPanel(t, b, opened.narrowed()) })
		t.Run(file+" misspelt", func(t *testing.T) { g.misspelt(t, b, opened.narrowed()) })
	}
	t.Run("figures", func(t *testing.T) { g.figures(t) })
	t.Run("alerts", func(t *testing.T) { g.alerts(t) })
	t.Run("alerts misspelt", func(t *testing.T) { g.alertsMisspelt(t) })
}

// opens is the moment at which the dashboard is opened: the options of its variables are asked for, one after the other,
// and what is saved as chosen must be among them.
func (g *grafana) opens(t *testing.T, b *board) *moment {
	t.Helper()
	m := &moment{
		from: g.from, to: g.to, interval: time.Minute, rateInterval: 4 * scrapeEvery,
		values: map[string][]string{}, options: map[string][]string{}, allValue: map[string]string{},
	}
	for _, v := range b.Templating.List {
		m.values[v.Name] = v.opensWith(t)
		switch v.Type {
		case "datasource":
			// The provisioned one; where there is none of this name Grafana takes the first of the type.
			if d := g.sources[v.asked(t)]; d.UID == "" || m.values[v.Name][0] != d.UID {
				t.Errorf("variable %s opens with the datasource %s of the type %s", v.Name, m.values[v.Name], v.asked(t))
			}
			continue
		case "query":
			options, err := g.choices(t, &v, m)
			if err != nil || len(options) == 0 {
				t.Errorf("variable %s: %d options, %v", v.Name, len(options), err)
			}
			m.options[v.Name], m.allValue[v.Name] = options, v.AllValue
			if !m.allOf(v.Name) && !slices.Contains(options, m.values[v.Name][0]) {
				t.Errorf("variable %s opens with %q, which is none of %q", v.Name, m.values[v.Name], options)
			}
		}
		if m.allOf(v.Name) && !v.IncludeAll || len(m.values[v.Name]) == 0 {
			t.Errorf("variable %s opens with %q", v.Name, m.values[v.Name])
		}
	}
	return m
}

var labelValues = regexp.MustCompile(`^label_values\((\w+), (\w+)\)$`)

// choices are the options of a variable.
func (g *grafana) choices(t *testing.T, v *variable, m *moment) ([]string, error) {
	if v.Datasource.Type == prometheusType {
		ask := labelValues.FindStringSubmatch(v.asked(t))
		if ask == nil {
			return nil, fmt.Errorf("%s is not understood here", v.asked(t))
		}
		return g.labelValues(ask[1], ask[2]), nil
	}
	statement, err := m.sql(v.asked(t))
	if err != nil {
		return nil, err
	}
	rows, err := g.askClickHouse(t.Context(), statement)
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, statement)
	}
	var options []string
	for _, row := range rows.values {
		options = append(options, fmt.Sprint(row[0]))
	}
	return options, nil
}

// narrowed chooses the first option of what is all.
func (m *moment) narrowed() *moment {
	one := *m
	one.values = map[string][]string{}
	for name, values := range m.values {
		one.values[name] = values
		if m.allOf(name) {
			one.values[name] = m.options[name][:1]
		}
	}
	return &one
}

func (g *grafana) everyPanel(t *testing.T, b *board, m *moment) {
	for _, p := range b.Panels {
		for _, q := range p.Targets {
			if err := g.ask(t.Context(), &q, m); err != nil {
				t.Errorf("panel %d (%s) %s: %v", p.ID, p.Title, q.RefID, err)
			}
		}
	}
}

// What each query has at least one of, and how it would look misspelt.
var (
	metricName = regexp.MustCompile(`(millrace|process)_(\w+)`)
	labelName  = regexp.MustCompile(`(\w+)(=~?")`)
	groupName  = regexp.MustCompile(`(\w+)(\) \()`) // the last one of by (...)
	columnName = regexp.MustCompile(`\b(timestamp|received_at)\b`)
	tableName  = regexp.MustCompile(`\bFROM (\w+)`)
)

// misspelt tries that a wrong name in any query would be found: of each metric and each label that it is chosen by, of a
// column and of the table. Variables must be narrowed: a label that nothing has matches .* too.
func (g *grafana) misspelt(t *testing.T, b *board, m *moment) {
	tried := 0
	for _, p := range b.Panels {
		for _, q := range p.Targets {
			var wrong []target
			for _, one := range []struct {
				name *regexp.Regexp
				into string
			}{{metricName, "${1}_x$2"}, {labelName, "x$1$2"}, {groupName, "x$1$2"}} {
				for _, at := range one.name.FindAllStringIndex(q.Expr, -1) {
					w := q
					w.Expr = q.Expr[:at[0]] + one.name.ReplaceAllString(q.Expr[at[0]:at[1]], one.into) + q.Expr[at[1]:]
					wrong = append(wrong, w)
				}
			}
			for name, into := range map[*regexp.Regexp]string{columnName: "x$1", tableName: "FROM x$1"} {
				if at := name.FindStringIndex(q.RawSQL); at != nil {
					w := q
					w.RawSQL = name.ReplaceAllString(q.RawSQL, into)
					wrong = append(wrong, w)
				}
			}
			if len(wrong) == 0 {
				t.Errorf("panel %d (%s) %s: nothing in it can be misspelt", p.ID, p.Title, q.RefID)
			}
			for _, w := range wrong {
				tried++
				if err := g.ask(t.Context(), &w, m); err == nil {
					t.Errorf("panel %d (%s) %s: nobody would notice\n%s%s", p.ID, p.Title, q.RefID, w.Expr, w.RawSQL)
				}
			}
		}
	}
	if tried < len(b.Panels) {
		t.Errorf("%d names were misspelt in %d panels", tried, len(b.Panels))
	}
	// And a panel over a time in which nothing happened shows nothing.
	empty := *m
	empty.from, empty.to = m.from.Add(-48*time.Hour), m.from.Add(-47*time.Hour)
	for _, p := range b.Panels {
		for _, q := range p.Targets {
			if q.RawSQL == "" {
				continue
			}
			if err := g.ask(t.Context(), &q, &empty); !errors.Is(err, errNothing) && !strings.Contains(fmt.Sprint(err), "NaN") {
				t.Errorf("panel %d (%s) %s, two days before: %v", p.ID, p.Title, q.RefID, err)
			}
		}
	}
}
