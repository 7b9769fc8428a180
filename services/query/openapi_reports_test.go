package query

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/millrace/millrace/schemas/api"
	"github.com/millrace/millrace/services/query/reports"
)

// kindOf is the type of a schema; of one that may be null too, the other.
type kindOf string

// UnmarshalYAML implements yaml.Unmarshaler.
func (k *kindOf) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.SequenceNode {
		node = node.Content[0]
	}
	*k = kindOf(node.Value)
	return nil
}

// reportResults are the types of the reports' results.
func reportResults() map[string]reflect.Type {
	return map[string]reflect.Type{
		"trend": reflect.TypeFor[reports.Trend](), "top": reflect.TypeFor[reports.Top](), "funnel": reflect.TypeFor[reports.Funnel](),
		"retention": reflect.TypeFor[reports.Retention](), "paths": reflect.TypeFor[reports.Paths](),
		"sessions": reflect.TypeFor[reports.Sessions](), "stickiness": reflect.TypeFor[reports.Stickiness](),
		"revenue": reflect.TypeFor[reports.Revenue](), "timeline": reflect.TypeFor[reports.Timeline](),
	}
}

// reportTypes are the schemas of reports.
func reportTypes() map[string]reflect.Type {
	types := map[string]reflect.Type{
		"Reports": reflect.TypeFor[reports.List](), "ReportDescription": reflect.TypeFor[reports.Description](),
		"ReportParam": reflect.TypeFor[reports.Param](), "ReportAnswer": reflect.TypeFor[reports.Answer](),
		"PreviousPeriod": reflect.TypeFor[reports.Previous](), "ReportStatistics": reflect.TypeFor[reports.Statistics](),
		"TrendSeries": reflect.TypeFor[reports.Series](), "TopRow": reflect.TypeFor[reports.TopRow](),
		"FunnelStep": reflect.TypeFor[reports.FunnelStep](), "FunnelSegment": reflect.TypeFor[reports.FunnelSegment](),
		"FunnelDropped": reflect.TypeFor[reports.Dropped](), "RetentionCohort": reflect.TypeFor[reports.Cohort](),
		"PathOfSteps": reflect.TypeFor[reports.Path](), "SessionStat": reflect.TypeFor[reports.SessionStat](),
		"RevenueCurrency": reflect.TypeFor[reports.Currency](), "RevenueStat": reflect.TypeFor[reports.RevenueStat](),
		"TimelineEvent": reflect.TypeFor[reports.TimelineEvent](),
	}
	for name, typ := range reportResults() {
		types[strings.ToUpper(name[:1])+name[1:]] = typ
	}
	return types
}

// Every parameter of a report is documented, with its type, its values and its default, and no other.
func TestOpenAPIOfReports(t *testing.T) {
	type parameter struct {
		Name   string
		Schema struct {
			Type    string
			Enum    []string
			Default any
			Items   struct{ Type string }
		}
	}
	var doc struct {
		Paths map[string]struct {
			Get struct{ Parameters []map[string]any }
		}
		Components struct{ Parameters map[string]map[string]any }
	}
	if err := yaml.Unmarshal(api.Query, &doc); err != nil {
		t.Fatal(err)
	}
	r, err := reports.New(reports.Config{
		Await: func(context.Context, string, time.Duration) error { return nil }, Watermark: func() string { return "" },
	})
	if err != nil {
		t.Fatal(err)
	}
	list := r.Describe()
	if len(list) != len(reportResults()) {
		t.Errorf("%d reports, %d types of results", len(list), len(reportResults()))
	}
	for _, d := range list {
		var got, want []string
		for _, raw := range doc.Paths[reports.Root+"/"+d.Name].Get.Parameters {
			if ref, ok := raw["$ref"].(string); ok {
				raw = doc.Components.Parameters[ref[strings.LastIndexByte(ref, '/')+1:]]
			}
			text, err := yaml.Marshal(raw)
			if err != nil {
				t.Fatal(err)
			}
			var p parameter
			if err := yaml.Unmarshal(text, &p); err != nil {
				t.Fatal(err)
			}
			def := ""
			if p.Schema.Default != nil {
				def = fmt.Sprint(p.Schema.Default)
			}
			got = append(got, fmt.Sprint(p.Name, " ", p.Schema.Type, " ", p.Schema.Items.Type, " ", p.Schema.Enum, " ", def))
		}
		for _, p := range d.Params {
			typ := map[string]string{"text": "string", "duration": "string", "time": "string"}[p.Type]
			if typ == "" {
				typ = p.Type
			}
			items := ""
			if p.Many {
				typ, items = "array", typ
			}
			want = append(want, fmt.Sprint(p.Name, " ", typ, " ", items, " ", p.Enum, " ", p.Default))
		}
		same(t, d.Name, got, want)
	}
}
