package live

import (
	"bytes"
	"strconv"
	"time"

	"github.com/expr-lang/expr/ast"
)

// mirrored are the operators with their sides changed over.
var mirrored = map[string]string{"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}

func comparison(n *ast.BinaryNode) (test, error) {
	a, err := read(n.Left)
	if err != nil {
		return nil, err
	}
	b, err := read(n.Right)
	if err != nil {
		return nil, err
	}
	op := n.Operator
	if a.kind == isConstant {
		a, b, op = b, a, mirrored[op]
	}
	if a.kind == isConstant {
		return nil, wrong(n, "%s compares two constants", show(n))
	}
	if op == "!=" { // so that it is the opposite of == also for what is absent
		t, err := compare(n, a, "==", b)
		if err != nil {
			return nil, err
		}
		return func(x row) bool { return !t(x) }, nil
	}
	return compare(n, a, op, b)
}

// compare compiles a comparison in which only b may be a constant.
func compare(n ast.Node, a operand, op string, b operand) (test, error) {
	if b.kind == isConstant {
		return compareConstant(n, a, op, b.value)
	}
	holds := order(op)
	switch {
	case a.text != nil && b.text != nil && (op == "==" || a.kind == isText || b.kind == isText):
		return func(x row) bool {
			v, ok := a.text(x)
			w, also := b.text(x)
			return ok && also && holds(bytes.Compare(v, w))
		}, nil
	case a.number != nil && b.number != nil && (a.kind == isTime) == (b.kind == isTime):
		return func(x row) bool {
			v, ok := a.number(x)
			w, also := b.number(x)
			return ok && also && holds(compareNumbers(v, w))
		}, nil
	}
	return nil, wrong(n, "%s compares what is not of one kind", show(n))
}

func compareConstant(n ast.Node, a operand, op string, value any) (test, error) {
	holds := order(op)
	switch value := value.(type) {
	case nil:
		if op != "==" || a.text == nil {
			break
		}
		if a.kind == isText { // absent is "" in a column
			return func(x row) bool { v, _ := a.text(x); return len(v) == 0 }, nil
		}
		return func(x row) bool { _, there := a.text(x); return !there }, nil
	case bool:
		if op != "==" || a.kind != isEntry {
			break
		}
		want := strconv.FormatBool(value)
		return func(x row) bool { v, _ := a.text(x); return string(v) == want }, nil
	case float64:
		if a.number == nil || a.kind == isTime {
			break
		}
		return func(x row) bool { v, ok := a.number(x); return ok && holds(compareNumbers(v, value)) }, nil
	case string:
		if a.kind == isTime {
			at, err := time.Parse(time.RFC3339, value)
			if err != nil {
				return nil, wrong(n, "%s: want a time such as \"2026-01-31T12:00:00Z\"", show(n))
			}
			ms := float64(at.UnixMilli())
			return func(x row) bool { v, _ := a.number(x); return holds(compareNumbers(v, ms)) }, nil
		}
		if a.text == nil {
			break
		}
		want := []byte(value)
		return func(x row) bool { v, ok := a.text(x); return ok && holds(bytes.Compare(v, want)) }, nil
	}
	return nil, wrong(n, "%s compares what is not of one kind", show(n))
}

// order says whether a three-way comparison fulfils an operator.
func order(op string) func(int) bool {
	switch op {
	case "<":
		return func(c int) bool { return c < 0 }
	case "<=":
		return func(c int) bool { return c <= 0 }
	case ">":
		return func(c int) bool { return c > 0 }
	case ">=":
		return func(c int) bool { return c >= 0 }
	}
	return func(c int) bool { return c == 0 }
}

func compareNumbers(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0 // neither is NaN: JSON has none
}

// membership is x in ["a", "b"], or "key" in properties.
func membership(n *ast.BinaryNode) (test, error) {
	if list, ok := n.Right.(*ast.ArrayNode); ok {
		o, err := read(n.Left)
		if err != nil {
			return nil, err
		}
		if o.kind == isConstant {
			return nil, wrong(n, "%s compares constants", show(n))
		}
		var some []test
		for _, item := range list.Nodes {
			c, err := read(item)
			if err != nil {
				return nil, err
			}
			if c.kind != isConstant {
				return nil, wrong(item, "a list holds constants")
			}
			t, err := compareConstant(n, o, "==", c.value)
			if err != nil {
				return nil, err
			}
			some = append(some, t)
		}
		return func(x row) bool {
			for _, t := range some {
				if t(x) {
					return true
				}
			}
			return false
		}, nil
	}
	base, isMap := n.Right.(*ast.IdentifierNode)
	if key, ok := n.Left.(*ast.StringNode); ok && isMap {
		o, err := entry(&ast.MemberNode{Node: base, Property: key})
		if err != nil {
			return nil, wrong(n, "%s has no keys; properties, traits, context and extra have", base.Value)
		}
		return func(x row) bool { _, there := o.text(x); return there }, nil
	}
	return nil, wrong(n, "in takes a list, as in source in [\"web\", \"app\"], or a key, as in \"total\" in properties")
}
