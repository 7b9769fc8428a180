package check

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

const (
	clickhouseType = "grafana-clickhouse-datasource"
	prometheusType = "prometheus"
)

var dashboards = []string{"product.json", "pipeline.json"}

// deployed is the path of a file in deploy/.
func deployed(path ...string) string {
	return filepath.Join(append([]string{"..", ".."}, path...)...)
}

func text(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type source struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

// target is one query of a panel, or of a variable.
type target struct {
	Datasource source `json:"datasource"`
	RefID      string `json:"refId"`
	RawSQL     string `json:"rawSql"`
	EditorType string `json:"editorType"`
	QueryType  string `json:"queryType"`
	Format     int    `json:"format"` // 0: a series over time, 1: a table
	Expr       string `json:"expr"`
	Legend     string `json:"legendFormat"`
	Instant    bool   `json:"instant"`
	Range      bool   `json:"range"`
}

type place struct{ X, Y, W, H int }

type panel struct {
	ID          int      `json:"id"`
	Type        string   `json:"type"`
	Title       string   `json:"title"`
	Description string   `json:"description"`
	Datasource  source   `json:"datasource"`
	Place       place    `json:"gridPos"`
	Targets     []target `json:"targets"`
	FieldConfig struct {
		Defaults struct {
			Unit string `json:"unit"`
		} `json:"defaults"`
	} `json:"fieldConfig"`
	Options json.RawMessage `json:"options"`
}

// chosen is what is selected in a variable: a text, or texts where several can be.
type chosen struct {
	Value json.RawMessage `json:"value"`
}

type variable struct {
	Name       string          `json:"name"`
	Type       string          `json:"type"` // datasource, query, custom, textbox
	Label      string          `json:"label"`
	Datasource source          `json:"datasource"`
	Query      json.RawMessage `json:"query"` // a text; of Prometheus {query}
	Multi      bool            `json:"multi"`
	IncludeAll bool            `json:"includeAll"`
	AllValue   string          `json:"allValue"`
	Current    chosen          `json:"current"`
}

type board struct {
	file          string
	UID           string  `json:"uid"`
	Title         string  `json:"title"`
	SchemaVersion int     `json:"schemaVersion"`
	ID            *int    `json:"id"`
	Panels        []panel `json:"panels"`
	Templating    struct {
		List []variable `json:"list"`
	} `json:"templating"`
	Time struct {
		From string `json:"from"`
		To   string `json:"to"`
	} `json:"time"`
}

func readBoard(t *testing.T, file string) *board {
	t.Helper()
	b := &board{file: file}
	if err := json.Unmarshal(text(t, deployed("grafana", "dashboards", file)), b); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return b
}

// asked is the text of the variable's query.
func (v *variable) asked(t *testing.T) string {
	t.Helper()
	var plain string
	if json.Unmarshal(v.Query, &plain) == nil {
		return plain
	}
	var object struct {
		Query string `json:"query"`
	}
	if err := json.Unmarshal(v.Query, &object); err != nil || object.Query == "" {
		t.Fatalf("variable %s: query %s", v.Name, v.Query)
	}
	return object.Query
}

// opensWith are the values that the dashboard opens with.
func (v *variable) opensWith(t *testing.T) []string {
	t.Helper()
	if len(v.Current.Value) == 0 || bytes.Equal(v.Current.Value, []byte("null")) {
		return nil
	}
	var many []string
	if json.Unmarshal(v.Current.Value, &many) == nil {
		return many
	}
	var one string
	if err := json.Unmarshal(v.Current.Value, &one); err != nil {
		t.Fatalf("variable %s: %v", v.Name, err)
	}
	return []string{one}
}
