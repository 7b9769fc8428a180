package check

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/prometheus/prometheus/promql"
	"gopkg.in/yaml.v3"
)

var errNothing = errors.New("it shows nothing")

// datasource is one of the file that Grafana is provisioned with.
type datasource struct {
	Name, UID, Type, URL string
	JSONData             map[string]any    `yaml:"jsonData"`
	SecureJSONData       map[string]string `yaml:"secureJsonData"`
}

// provisioned reads that file as Grafana does, which puts in its environment.
func provisioned(t *testing.T, env map[string]string) map[string]datasource {
	t.Helper()
	filled := regexp.MustCompile(`\$(\w+)`).ReplaceAllStringFunc(string(text(t, deployed("grafana", "provisioning", "datasources", "millrace.yaml"))), func(name string) string {
		value, known := env[name[1:]]
		if !known {
			t.Fatalf("nobody sets %s", name)
		}
		return value
	})
	var file struct{ Datasources []datasource }
	if err := yaml.Unmarshal([]byte(filled), &file); err != nil {
		t.Fatal(err)
	}
	found := map[string]datasource{}
	for _, d := range file.Datasources {
		found[d.Type] = d
	}
	if len(found) != 2 || found[prometheusType].URL == "" {
		t.Fatalf("datasources: %+v", file.Datasources)
	}
	return found
}

// open connects as the plugin does: database/sql over the native protocol, compressed, without settings of its own.
func (d datasource) open(t *testing.T) *sql.DB {
	t.Helper()
	if d.JSONData["protocol"] != "native" {
		t.Fatalf("%s: protocol %v", d.Name, d.JSONData["protocol"])
	}
	db := clickhouse.OpenDB(&clickhouse.Options{
		Addr: []string{fmt.Sprint(d.JSONData["host"], ":", d.JSONData["port"])},
		Auth: clickhouse.Auth{
			Database: fmt.Sprint(d.JSONData["defaultDatabase"]), Username: fmt.Sprint(d.JSONData["username"]), Password: d.SecureJSONData["password"],
		},
		ClientInfo:  clickhouse.ClientInfo{Products: []struct{ Name, Version string }{{"grafana", "13.2.1"}, {"clickhouse-datasource", "4.20.0"}}},
		Compression: &clickhouse.Compression{Method: clickhouse.CompressionLZ4},
		Settings:    clickhouse.Settings{},
	})
	t.Cleanup(func() { _ = db.Close() }) // all answers were read
	return db
}

// patience is the datasource's queryTimeout: the driver makes a setting of it, which the reader must be allowed.
func (d datasource) patience(t *testing.T) time.Duration {
	t.Helper()
	seconds, err := strconv.Atoi(fmt.Sprint(d.JSONData["queryTimeout"]))
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(seconds) * time.Second
}

// grafana asks as Grafana does.
type grafana struct {
	*installation
	sources  map[string]datasource // by type
	db       *sql.DB
	patience time.Duration
}

func newGrafana(t *testing.T, in *installation) *grafana {
	t.Helper()
	sources := provisioned(t, in.environment(t))
	d := sources[clickhouseType]
	return &grafana{installation: in, sources: sources, db: d.open(t), patience: d.patience(t)}
}

// ask says why a query would show nothing.
func (g *grafana) ask(ctx context.Context, q *target, m *moment) error {
	if q.Datasource.Type == prometheusType {
		expr, err := m.promql(q.Expr)
		if err != nil {
			return err
		}
		return g.askPrometheus(ctx, expr, q)
	}
	statement, err := m.sql(q.RawSQL)
	if err != nil {
		return err
	}
	rows, err := g.askClickHouse(ctx, statement)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, statement)
	}
	if q.Format == 0 {
		err = rows.series()
	}
	return errors.Join(err, rows.shown())
}

func (g *grafana) askPrometheus(ctx context.Context, expr string, q *target) error {
	parsed, err := g.parser.ParseExpr(expr)
	if err != nil {
		return err
	}
	if missing := g.missingLabels(parsed); len(missing) > 0 {
		return fmt.Errorf("%s: %s", expr, strings.Join(missing, ", "))
	}
	var lines promql.Matrix
	if q.Instant {
		v, err := g.vector(ctx, expr)
		if err != nil {
			return fmt.Errorf("%s: %w", expr, err)
		}
		for _, s := range v {
			lines = append(lines, promql.Series{Metric: s.Metric, Floats: []promql.FPoint{{T: s.T, F: s.F}}})
		}
	} else {
		m, err := g.matrix(ctx, expr)
		if err != nil {
			return fmt.Errorf("%s: %w", expr, err)
		}
		lines = m
	}
	shown := false
	for _, line := range lines {
		shown = shown || slices.ContainsFunc(line.Floats, func(p promql.FPoint) bool { return !math.IsNaN(p.F) })
		for _, label := range legendLabel.FindAllStringSubmatch(q.Legend, -1) {
			if line.Metric.Get(label[1]) == "" {
				return fmt.Errorf("%s: %s has no label %s for the legend", expr, line.Metric, label[1])
			}
		}
	}
	if !shown {
		return fmt.Errorf("%s: %w", expr, errNothing)
	}
	return nil
}

var legendLabel = regexp.MustCompile(`{{(\w+)}}`)

// rows are an answer of ClickHouse.
type rows struct {
	names, types []string
	values       [][]any
}

// shows are the types that the plugin makes plain fields of; arrays, maps and tuples become JSON, which no panel here means.
var shows = regexp.MustCompile(`^(String|LowCardinality\(String\)|U?Int\d+|Float64|Date|DateTime|DateTime\('UTC'\)|DateTime64\(\d(, 'UTC')?\))$`)

func (g *grafana) askClickHouse(ctx context.Context, statement string) (*rows, error) {
	ctx, cancel := context.WithTimeout(ctx, g.patience)
	defer cancel()
	answer, err := g.db.QueryContext(ctx, statement)
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	found := &rows{}
	columns, err := answer.ColumnTypes()
	if err != nil {
		return nil, err
	}
	for _, c := range columns {
		if !shows.MatchString(c.DatabaseTypeName()) {
			return nil, fmt.Errorf("column %s is of the type %s", c.Name(), c.DatabaseTypeName())
		}
		found.names, found.types = append(found.names, c.Name()), append(found.types, c.DatabaseTypeName())
	}
	for answer.Next() {
		pointers := make([]any, len(columns))
		for i, c := range columns {
			pointers[i] = reflect.New(c.ScanType()).Interface()
		}
		if err := answer.Scan(pointers...); err != nil {
			return nil, err
		}
		for i := range pointers {
			pointers[i] = reflect.ValueOf(pointers[i]).Elem().Interface()
		}
		found.values = append(found.values, pointers)
	}
	return found, answer.Err()
}

// series says why rows cannot be drawn over time: Grafana wants a time first, in order, and a number; texts are labels.
func (r *rows) series() error {
	numbers, last := 0, time.Time{}
	for i := range r.names {
		if r.number(i) {
			numbers++
		}
	}
	if len(r.names) == 0 || r.names[0] != "time" || numbers != 1 {
		return fmt.Errorf("columns %v of the types %v are no series over time", r.names, r.types)
	}
	for _, row := range r.values {
		at, ok := row[0].(time.Time)
		if !ok || at.Before(last) {
			return fmt.Errorf("the time %v comes after %v", row[0], last)
		}
		last = at
	}
	return nil
}

func (r *rows) number(column int) bool {
	return regexp.MustCompile(`^(U?Int|Float)`).MatchString(r.types[column])
}

// shown is nil when there is something to see: a row, and a number that is not zero in each column of numbers.
func (r *rows) shown() error {
	if len(r.values) == 0 {
		return errNothing
	}
	for i, name := range r.names {
		if !r.number(i) {
			continue
		}
		something := false
		for _, row := range r.values {
			v, err := strconv.ParseFloat(fmt.Sprint(row[i]), 64)
			if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
				return fmt.Errorf("column %s has the value %v", name, row[i])
			}
			something = something || v != 0
		}
		if !something {
			return fmt.Errorf("column %s: %w", name, errNothing)
		}
	}
	return nil
}
