package failpoint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Every declared point is listed once, so that the laboratory finds it, and is
// one of a pair.
func TestEveryPointIsListed(t *testing.T) {
	var declared []Name
	for _, file := range []string{"points_ingester.go", "points_enricher.go", "points_indexer.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok {
				text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				declared = append(declared, Name(text))
			}
			return true
		})
	}
	if !slices.Equal(declared, Names()) {
		t.Errorf("declared are %v, listed %v", declared, Names())
	}
	shape := regexp.MustCompile(`^(ingester|enricher|indexer)\.[a-z_]+\.(before|after)$`)
	seen := map[Name]bool{}
	for _, n := range Names() {
		if !shape.MatchString(string(n)) || seen[n] {
			t.Errorf("%s: want <service>.<step>.<before|after>, once", n)
		}
		seen[n] = true
	}
	for i := 0; i+1 < len(declared); i += 2 {
		if !strings.HasSuffix(string(declared[i]), ".before") || CanFail(declared[i]) != CanFail(declared[i+1]) {
			t.Errorf("%s and %s are no pair", declared[i], declared[i+1])
		}
	}
}
