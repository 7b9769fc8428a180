package event

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strconv"
	"testing"
)

// TestReasons checks that the set is whole and that every code may be a token
// of a subject.
func TestReasons(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "reasons.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared := 0
	for _, decl := range file.Decls {
		consts, ok := decl.(*ast.GenDecl)
		if !ok || consts.Tok != token.CONST {
			continue
		}
		for _, spec := range consts.Specs {
			literal := spec.(*ast.ValueSpec).Values[0].(*ast.BasicLit)
			code, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			declared++
			if !Reason(code).Valid() {
				t.Errorf("%q is declared, but not in Reasons", code)
			}
		}
	}
	all := Reasons()
	if declared != len(all) {
		t.Errorf("%d reasons are declared, %d in Reasons", declared, len(all))
	}
	for i, r := range all {
		if !regexp.MustCompile(`^[a-z][a-z0-9_]{2,31}$`).MatchString(string(r)) {
			t.Errorf("%q is no token", r)
		}
		if i > 0 && r <= all[i-1] {
			t.Errorf("%q is not sorted or twice", r)
		}
	}
	if Reason("").Valid() || Reason("other").Valid() {
		t.Error("unknown reasons are valid")
	}
}
