package query

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/millrace/millrace/schemas/api"
	"github.com/millrace/millrace/services/query/live"
	"github.com/millrace/millrace/services/query/problem"
	"github.com/millrace/millrace/services/query/reports"
	"github.com/millrace/millrace/services/query/sqlgate"
)

// document is the part of an OpenAPI document that is compared with the code.
type document struct {
	Paths      map[string]map[string]any
	Components struct {
		Schemas map[string]struct {
			Required   []string
			Properties map[string]struct {
				Type kindOf
				Enum []string
				Ref  string `yaml:"$ref"`
			}
		}
	}
}

func TestOpenAPI(t *testing.T) {
	var doc document
	if err := yaml.Unmarshal(api.Query, &doc); err != nil {
		t.Fatal(err)
	}
	paths := map[string]string{
		"/v1/sql": "post", "/v1/sql/{id}": "delete", "/v1/queries": "get", "/v1/queries/{name}": "get", "/openapi.json": "get",
		"/v1/reports": "get",
		"/v1/ask":     "post", "/v1/users/{id}": "get",
		"/v1/verify": "post", "/v1/status": "get", "/mcp": "post",
		"/v1/live": "get", "/v1/live/sql": "get",
	}
	for name := range reportResults() {
		paths[reports.Root+"/"+name] = "get"
	}
	for path, methods := range paths {
		if len(doc.Paths[path]) != 1 || doc.Paths[path][methods] == nil {
			t.Errorf("%s: documented are %v", path, doc.Paths[path])
		}
	}
	if len(doc.Paths) != len(paths) {
		t.Errorf("%d paths are documented", len(doc.Paths))
	}
	types := map[string]reflect.Type{
		"Problem": reflect.TypeFor[problem.Problem](), "Waiting": reflect.TypeFor[problem.Waiting](), "InWait": reflect.TypeFor[problem.InWait](),
		"Status": reflect.TypeFor[Status](), "InstallationStatus": reflect.TypeFor[InstallationStatus](),
		"Condition": reflect.TypeFor[Condition](), "ShardStatus": reflect.TypeFor[ShardStatus](), "Range": reflect.TypeFor[Range](),
		"StreamsStatus": reflect.TypeFor[StreamsStatus](), "StreamStatus": reflect.TypeFor[StreamStatus](),
		"LiveEnd": reflect.TypeFor[live.End](), "LiveGap": reflect.TypeFor[live.Gap](), "LiveAnswer": reflect.TypeFor[live.Answer](),
		"VerifyLine": reflect.TypeFor[verifyLine](), "Progress": reflect.TypeFor[Progress](), "Report": reflect.TypeFor[Report](),
		"Queries": reflect.TypeFor[sqlgate.Queries](), "NamedQuery": reflect.TypeFor[sqlgate.Named](), "QueryParam": reflect.TypeFor[sqlgate.Param](),
		"ShardReport": reflect.TypeFor[ShardReport](), "Finding": reflect.TypeFor[Finding](), "Recovery": reflect.TypeFor[Recovery](),
	}
	maps.Copy(types, reportTypes())
	maps.Copy(types, userTypes())
	if len(types) != len(doc.Components.Schemas) {
		t.Errorf("%d schemas are documented, the code has %d", len(doc.Components.Schemas), len(types))
	}
	for name, typ := range types {
		schema := doc.Components.Schemas[name]
		var want, required []string
		for i := range typ.NumField() {
			field, options, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			if field == "-" {
				continue
			}
			want = append(want, field)
			if options == "" {
				required = append(required, field)
			}
			kind := map[reflect.Kind]string{
				reflect.String: "string", reflect.Bool: "boolean", reflect.Slice: "array", reflect.Float64: "number",
				reflect.Int: "integer", reflect.Uint64: "integer",
			}[pointed(typ.Field(i).Type).Kind()]
			if typ.Field(i).Type == reflect.TypeFor[json.RawMessage]() {
				kind = "object"
			}
			if kind != "" && string(schema.Properties[field].Type) != kind {
				t.Errorf("%s.%s is documented as %q, the code has %s", name, field, schema.Properties[field].Type, kind)
			}
		}
		var got []string
		for field := range schema.Properties {
			got = append(got, field)
		}
		same(t, name, got, want)
		same(t, name+", required", schema.Required, required)
	}
	var codes []string
	for _, k := range problem.Kinds() {
		codes = append(codes, k.Code)
	}
	same(t, "codes", doc.Components.Schemas["Problem"].Properties["code"].Enum, codes)
	same(t, "kinds", doc.Components.Schemas["Finding"].Properties["kind"].Enum, []string{
		KindMissing, KindDoubled, KindSurplus, KindDeadMissing, KindDeadSurplus, KindTotals, KindLedgerGap, KindHole, KindLost,
		KindVerdict, KindForeign, KindBeyond, KindWentBack, KindStuck,
	})
}

func pointed(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	got, want = slices.Clone(got), slices.Clone(want)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: documented are %v, the code has %v", what, got, want)
	}
}
