package query

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/millrace/millrace/schemas/api"
)

// document is the part of an OpenAPI document that is compared with the code.
type document struct {
	Paths      map[string]map[string]any
	Components struct {
		Schemas map[string]struct {
			Required   []string
			Properties map[string]struct {
				Type string
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
	for path, methods := range map[string]string{"/v1/sql": "post", "/v1/verify": "post", "/v1/status": "get"} {
		if len(doc.Paths[path]) != 1 || doc.Paths[path][methods] == nil {
			t.Errorf("%s: documented are %v", path, doc.Paths[path])
		}
	}
	if len(doc.Paths) != 3 {
		t.Errorf("%d paths are documented", len(doc.Paths))
	}
	types := map[string]reflect.Type{
		"Problem": reflect.TypeFor[problem](), "Waiting": reflect.TypeFor[waiting](), "InWait": reflect.TypeFor[inWait](),
		"Status": reflect.TypeFor[Status](), "InstallationStatus": reflect.TypeFor[InstallationStatus](),
		"Condition": reflect.TypeFor[Condition](), "ShardStatus": reflect.TypeFor[ShardStatus](), "Range": reflect.TypeFor[Range](),
		"StreamsStatus": reflect.TypeFor[StreamsStatus](), "StreamStatus": reflect.TypeFor[StreamStatus](),
		"VerifyLine": reflect.TypeFor[verifyLine](), "Progress": reflect.TypeFor[Progress](), "Report": reflect.TypeFor[Report](),
		"ShardReport": reflect.TypeFor[ShardReport](), "Finding": reflect.TypeFor[Finding](), "Recovery": reflect.TypeFor[Recovery](),
	}
	if len(types) != len(doc.Components.Schemas) {
		t.Errorf("%d schemas are documented, the code has %d", len(doc.Components.Schemas), len(types))
	}
	for name, typ := range types {
		schema := doc.Components.Schemas[name]
		var want, required []string
		for i := range typ.NumField() {
			field, options, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			want = append(want, field)
			if options == "" {
				required = append(required, field)
			}
			kind := map[reflect.Kind]string{
				reflect.String: "string", reflect.Bool: "boolean", reflect.Slice: "array", reflect.Float64: "number",
				reflect.Int: "integer", reflect.Uint64: "integer",
			}[pointed(typ.Field(i).Type).Kind()]
			if kind != "" && schema.Properties[field].Type != kind {
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
	same(t, "codes", doc.Components.Schemas["Problem"].Properties["code"].Enum, codesOf(
		kindBadRequest, kindMethod, kindNotFound, kindUnauthorized, kindForbidden, kindTooLarge, kindInvalid, kindLimit,
		kindTimeout, kindNotYet, kindBusy, kindUnavailable, kindInternal))
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

func codesOf(kinds ...kind) (codes []string) {
	for _, k := range kinds {
		codes = append(codes, k.code)
	}
	return codes
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
