package live

import (
	"bytes"
	"strings"

	"github.com/expr-lang/expr/ast"

	"github.com/millrace/millrace/libs/event/frame"
)

// columns are the names of a filter: those of the table.
var columns = func() map[string]int {
	m := make(map[string]int, len(frame.Columns))
	for i, c := range frame.Columns {
		m[c.Name] = i
	}
	return m
}()

// numbersOf is the column with the numbers of a column of texts.
var numbersOf = map[int]int{
	frame.ColProperties: frame.ColPropertiesNum,
	frame.ColTraits:     frame.ColTraitsNum,
	frame.ColContext:    frame.ColContextNum,
}

// kind is what an operand is.
type kind int

const (
	isText   kind = iota // a column of text
	isNumber             // a column of numbers
	isTime               // a column of times
	isBool               // a column of true and false
	isEntry              // a key of a map: text, perhaps a number, perhaps absent
	isConstant
)

// operand is one side of a comparison. Which of its functions are set follows from its kind.
type operand struct {
	kind   kind
	text   func(row) (value []byte, there bool)  // isText, isEntry
	number func(row) (value float64, there bool) // isNumber, isTime (in ms), isEntry
	value  any                                   // isConstant: string, float64, bool or nil
}

// read compiles a side of a comparison.
func read(n ast.Node) (operand, error) {
	constant := func(v any) (operand, error) { return operand{kind: isConstant, value: v}, nil }
	switch n := n.(type) {
	case *ast.ChainNode:
		return read(n.Node)
	case *ast.StringNode:
		return constant(n.Value)
	case *ast.IntegerNode:
		return constant(float64(n.Value))
	case *ast.FloatNode:
		return constant(n.Value)
	case *ast.BoolNode:
		return constant(n.Value)
	case *ast.NilNode:
		return constant(nil)
	case *ast.UnaryNode:
		if o, err := read(n.Node); err == nil && (n.Operator == "-" || n.Operator == "+") {
			if v, ok := o.value.(float64); ok {
				if n.Operator == "-" {
					v = -v
				}
				return constant(v)
			}
		}
	case *ast.IdentifierNode:
		return column(n)
	case *ast.MemberNode:
		return entry(n)
	case *ast.BuiltinNode:
		return changed(n)
	case *ast.CallNode:
		return operand{}, wrong(n, "there are the functions lower and upper")
	}
	return operand{}, wrong(n, "%s is neither a column, nor a key such as properties.total, nor a constant", show(n))
}

func column(n *ast.IdentifierNode) (operand, error) {
	c, ok := columns[n.Value]
	if !ok {
		return operand{}, wrong(n, "there is no column %s; the names are those of the table events, and keys are written as properties.%s", n.Value, n.Value)
	}
	switch typ := frame.Columns[c].Type; {
	case typ == "String":
		return operand{kind: isText, text: func(x row) ([]byte, bool) { return x.v.Str(c, x.r), true }}, nil
	case typ == "Bool":
		return operand{kind: isBool}, wrong(n, "%s is true or false by itself: write %s or not %s", n.Value, n.Value, n.Value)
	case strings.HasPrefix(typ, "DateTime64"):
		return operand{kind: isTime, number: func(x row) (float64, bool) { return float64(x.v.Millis(c, x.r)), true }}, nil
	case typ == "UInt16":
		return operand{kind: isNumber, number: func(x row) (float64, bool) { return float64(x.v.U16(c, x.r)), true }}, nil
	case typ == "UInt32":
		return operand{kind: isNumber, number: func(x row) (float64, bool) { return float64(x.v.U32(c, x.r)), true }}, nil
	case typ == "UInt64":
		return operand{kind: isNumber, number: func(x row) (float64, bool) { return float64(x.v.U64(c, x.r)), true }}, nil
	}
	return operand{}, wrong(n, "%s has keys: name one, as in %s.total or %s[\"the key\"]", n.Value, n.Value, n.Value)
}

// entry is a key of one of the maps.
func entry(n *ast.MemberNode) (operand, error) {
	key, named := n.Property.(*ast.StringNode)
	base, direct := n.Node.(*ast.IdentifierNode)
	if !named || n.Method {
		return operand{}, wrong(n, "%s: the key must be a text constant", show(n))
	}
	if !direct {
		return operand{}, wrong(n, "%s: what is nested in a value is JSON text here; search it with contains or matches", show(n))
	}
	c, ok := columns[base.Value]
	if !ok || !strings.HasPrefix(frame.Columns[c].Type, "Map(String, String") {
		return operand{}, wrong(n, "%s has no keys; properties, traits, context and extra have", base.Value)
	}
	text := func(x row) ([]byte, bool) {
		for k, v := range x.v.Entries(c, x.r) {
			if string(k) == key.Value {
				return v, true
			}
		}
		return nil, false
	}
	numbers, ok := numbersOf[c]
	if !ok {
		return operand{kind: isEntry, text: text, number: func(row) (float64, bool) { return 0, false }}, nil
	}
	return operand{kind: isEntry, text: text, number: func(x row) (float64, bool) {
		for k, v := range x.v.FloatEntries(numbers, x.r) {
			if string(k) == key.Value {
				return v, true
			}
		}
		return 0, false
	}}, nil
}

// changed is lower(x) or upper(x).
func changed(n *ast.BuiltinNode) (operand, error) {
	if (n.Name != "lower" && n.Name != "upper") || len(n.Arguments) != 1 {
		return operand{}, wrong(n, "%s is not possible in a filter; there are the functions lower and upper, of one argument", n.Name)
	}
	o, err := read(n.Arguments[0])
	if err != nil {
		return operand{}, err
	}
	if o.text == nil {
		return operand{}, wrong(n, "%s takes text: a column or a key", n.Name)
	}
	change := bytes.ToLower
	if n.Name == "upper" {
		change = bytes.ToUpper
	}
	return operand{kind: isText, text: func(x row) ([]byte, bool) {
		v, ok := o.text(x)
		return change(v), ok
	}}, nil
}
