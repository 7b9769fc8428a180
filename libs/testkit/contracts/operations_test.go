package contracts

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sources are the folders, with those below them, whose metrics and readiness checks docs/operations.md lists, by the name that both begin with.
var sources = map[string]string{
	"ingester": "services/ingester",
	"enricher": "services/enricher",
	"indexer":  "services/indexer",
	"query":    "services/query",
	"up":       "services/millrace/up",
	"build":    "libs/svc",
}

const top = "../../.."

// said are what operations.md has between backticks and matches the pattern's group.
func said(t *testing.T, pattern string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(top, "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(text), -1) {
		names[m[1]] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// calls hands every call of the code of a folder, tests left out, to visit, with the value of the file's constant prefix.
func calls(t *testing.T, dir string, visit func(call *ast.CallExpr, first, prefix string)) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(top, dir), func(name string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			return err
		}
		prefix := ""
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				if n.Names[0].Name == "prefix" && len(n.Values) == 1 {
					prefix = literal(n.Values[0])
				}
			case *ast.CallExpr:
				if len(n.Args) > 0 {
					visit(n, literal(n.Args[0]), prefix)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// literal is the text of a string literal, "" of everything else.
func literal(e ast.Expr) string {
	if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
		text, _ := strconv.Unquote(lit.Value) // the parser has taken it
		return text
	}
	return ""
}

// metricName is the name in prometheus.XOpts{Name: ...}: whole, or what follows a prefix; "" where a variable holds it.
func metricName(opts ast.Expr, prefix string) string {
	lit, ok := opts.(*ast.CompositeLit)
	if !ok {
		return ""
	}
	for _, e := range lit.Elts {
		kv, ok := e.(*ast.KeyValueExpr)
		if !ok {
			continue
		}
		if key, ok := kv.Key.(*ast.Ident); !ok || key.Name != "Name" {
			continue
		}
		if sum, ok := kv.Value.(*ast.BinaryExpr); ok && literal(sum.Y) != "" {
			return prefix + literal(sum.Y)
		}
		return literal(kv.Value)
	}
	return ""
}

// Every metric that operations.md names is one that the code registers, and the other way round.
func TestOperationsNamesTheMetrics(t *testing.T) {
	names := map[string]bool{}
	for service, dir := range sources {
		usual, before := "millrace_"+service+"_", len(names)
		calls(t, dir, func(call *ast.CallExpr, first, prefix string) {
			if prefix == "" {
				prefix = usual
			}
			switch fun := call.Fun.(type) {
			case *ast.Ident: // the short forms of metrics.go: counter("frames_total", "...")
				if first != "" && slices.Contains([]string{"counter", "counters", "gauge", "histogram"}, fun.Name) {
					names[prefix+first] = true
				}
			case *ast.SelectorExpr: // svc.NewLanes("indexer", ...), which has one metric, or prometheus.NewCounter(prometheus.CounterOpts{Name: ...})
				if fun.Sel.Name == "NewLanes" {
					names["millrace_"+first+"_shard_stuck"] = true
				}
				if pkg, ok := fun.X.(*ast.Ident); ok && pkg.Name == "prometheus" && strings.HasPrefix(fun.Sel.Name, "New") {
					if name := metricName(call.Args[0], prefix); name != "" {
						names[name] = true
					}
				}
			}
		})
		if len(names) == before {
			t.Errorf("%s has no metric: this test does not see how they are made any more", dir)
		}
	}
	// Names also stand in expressions; a suffix of a label selector or a range ends them.
	if diff := cmp.Diff(slices.Sorted(maps.Keys(names)), said(t, `\b(millrace_(?:ingester|enricher|indexer|query|up|build)_[a-z_]+)`)); diff != "" {
		t.Errorf("metrics (-code +docs/operations.md):\n%s", diff)
	}
}

// The same for the checks of /readyz.
func TestOperationsNamesTheReadinessChecks(t *testing.T) {
	var names []string
	for service, dir := range sources {
		calls(t, dir, func(call *ast.CallExpr, first, _ string) {
			if fun, ok := call.Fun.(*ast.SelectorExpr); ok && fun.Sel.Name == "Register" && first != "" {
				names = append(names, service+"/"+first)
			}
		})
	}
	slices.Sort(names)
	if diff := cmp.Diff(names, said(t, "\\| `((?:ingester|enricher|indexer|query|up)/[a-z]+)` \\|")); diff != "" {
		t.Errorf("readiness checks (-code +docs/operations.md):\n%s", diff)
	}
}
