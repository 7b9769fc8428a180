package ingester

import (
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/millrace/millrace/libs/svc"
	"github.com/millrace/millrace/schemas/api"
)

var update = flag.Bool("update", false, "write the golden files")

// pathItem is what a path takes, or where that is written.
type pathItem struct {
	Ref                string `yaml:"$ref"`
	Get, Post, Options *struct {
		Responses map[string]any `yaml:"responses"`
	}
}

type openAPI struct {
	OpenAPI    string              `yaml:"openapi"`
	Paths      map[string]pathItem `yaml:"paths"`
	Components struct {
		PathItems map[string]pathItem `yaml:"pathItems"`
		Schemas   map[string]struct {
			Required   []string                  `yaml:"required"`
			Properties map[string]map[string]any `yaml:"properties"`
		} `yaml:"schemas"`
	} `yaml:"components"`
}

// TestTheContractSaysWhatTheDoorAnswers compares the OpenAPI document with
// the code.
func TestTheContractSaysWhatTheDoorAnswers(t *testing.T) {
	var doc openAPI
	if err := yaml.Unmarshal(api.Ingester, &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1.") {
		t.Errorf("version %s", doc.OpenAPI)
	}
	doc.pathsAreThose(t)
	p := doc.Components.Schemas["Problem"]
	var codes []string
	for _, c := range p.Properties["code"]["enum"].([]any) {
		codes = append(codes, c.(string))
	}
	slices.Sort(codes)
	if got := codesInSource(t); !slices.Equal(got, codes) {
		t.Errorf("the contract has the codes\n%v, the code\n%v", codes, got)
	}
	zero := 0
	for schema, example := range map[string]any{
		"Problem": problem{Offset: &zero, Line: &zero, RequestID: "r"},
		"Stored":  stored(tongueEvents), "StoredSegment": stored(tongueSegment), "StoredPostHog": stored(tonguePostHog),
	} {
		text, err := json.Marshal(example)
		if err != nil {
			t.Fatal(err)
		}
		var fields map[string]any
		if err := json.Unmarshal(text, &fields); err != nil {
			t.Fatal(err)
		}
		s := doc.Components.Schemas[schema]
		if got, want := slices.Sorted(maps.Keys(fields)), slices.Sorted(maps.Keys(s.Properties)); !slices.Equal(got, want) {
			t.Errorf("%s: the contract has %v, the code %v", schema, want, got)
		}
		for _, name := range s.Required {
			if _, ok := fields[name]; !ok {
				t.Errorf("%s: %s is required and missing", schema, name)
			}
		}
	}
}

func stored(to tongue) json.RawMessage {
	return closeAnswer(newIntake(Config{}.withDefaults().Limits, 1).openAnswer(nil, (&route{tongue: to}).head()), "")
}

// pathsAreThose compares paths, methods and statuses with the table of the door.
func (doc *openAPI) pathsAreThose(t *testing.T) {
	t.Helper()
	routes := newRoutes()
	for _, p := range []string{
		"/v1/projects/{writeKey}/settings", "/analytics.js/v1/{writeKey}/analytics.min.js", "/analytics-next/bundles/{file}",
		"/array/{token}/config", "/array/{token}/config.js",
	} {
		routes[p] = named(p)
	}
	if got, want := slices.Sorted(maps.Keys(doc.Paths)), slices.Sorted(maps.Keys(routes)); !slices.Equal(got, want) {
		t.Errorf("the contract has the paths\n%v, the code\n%v", got, want)
	}
	seen := map[string]bool{}
	for p, to := range routes {
		item := doc.Paths[p]
		if item.Ref != "" {
			item = doc.Components.PathItems[strings.TrimPrefix(item.Ref, "#/components/pathItems/")]
		}
		if (item.Get != nil) != (to.get != nil) || (item.Post != nil) != (to.post != nil) || item.Options == nil {
			t.Errorf("%s: the contract has other methods than %s", p, to.allowed())
			continue
		}
		for _, op := range []*struct {
			Responses map[string]any `yaml:"responses"`
		}{item.Get, item.Post, item.Options} {
			if op == nil {
				continue
			}
			for status := range op.Responses {
				seen[status] = true
			}
		}
		if to.tongue == tongueSegment && item.Post != nil && item.Post.Responses["413"] != nil {
			t.Errorf("%s: Segment's paths answer 400 instead of 413", p)
		}
	}
	var want []string
	for _, status := range statuses {
		want = append(want, strconv.Itoa(status))
	}
	if got := slices.Sorted(maps.Keys(seen)); !slices.Equal(got, want) {
		t.Errorf("the contract has the statuses %v, the code %v", got, want)
	}
}

// codesInSource finds the codes of all problems that the code can make.
func codesInSource(t *testing.T) []string {
	found := map[string]bool{}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			f, ok := call.Fun.(*ast.Ident)
			if !ok || (f.Name != "newProblem" && f.Name != "passing") {
				return true
			}
			if code, ok := call.Args[1].(*ast.BasicLit); ok {
				text, err := strconv.Unquote(code.Value)
				if err != nil {
					t.Fatal(err)
				}
				found[text] = true
			}
			return true
		})
	}
	return slices.Sorted(maps.Keys(found))
}

func TestHelpIsGolden(t *testing.T) {
	got := svc.Help("ingester", Command, svc.WithAdminAddr("127.0.0.1:8081"))
	const path = "testdata/help.txt"
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("-help has changed; go test -run TestHelpIsGolden . -update writes %s\n%s", path, got)
	}
}

func TestConfigRefuses(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--linger", "2s"}, "linger"},
		{[]string{"--hold", "2m"}, "hold"},
		{[]string{"--frame-bytes", "10"}, "frame-bytes"},
		{[]string{"--frame-events", "0"}, ""}, // the default
		{[]string{"--frame-events", "-1"}, "frame-events"},
		{[]string{"--max-in-flight", "1MiB"}, "max-in-flight"},
		{[]string{"--nats-prefix", "a.b"}, "prefix"},
	} {
		fs := flag.NewFlagSet("ingester", flag.ContinueOnError)
		create := Command(fs)
		if err := fs.Parse(append(c.args, "--ingest-addr", "127.0.0.1:0")); err != nil {
			t.Fatal(err)
		}
		service, err := create(svc.Env{Log: discard(), Reg: svc.NewRegistry(), Health: svc.NewHealth()})
		if c.want == "" {
			if err != nil {
				t.Errorf("%v: %v", c.args, err)
				continue
			}
			if err := service.(*Ingester).Close(); err != nil {
				t.Error(err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v", c.args, err)
		}
	}
	if _, err := New(Config{}); err == nil {
		t.Error("without Log, Reg and Health")
	}
}
