package live

import (
	"errors"
	"fmt"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"

	"github.com/millrace/millrace/libs/event/frame"
)

// Limits of a filter. What it may cost at an event is bounded by them: there are no loops, no variables and no functions
// that make values larger, so one evaluation is at most maxNodes passes over the event's own text.
const (
	maxFilter = 2 << 10 // bytes
	maxNodes  = 200     // operators, names and constants
)

// ErrFilter is in the error of a filter that cannot be used; the text says where and why.
var ErrFilter = errors.New("the filter cannot be used")

// Filter is a condition on an event. Its text is an expression in the syntax of github.com/expr-lang/expr; only the parser
// is taken from there, because events are columns of a frame and not values of Go, and because a filter of a stranger must
// be cheap by construction:
//
//	event == "Order Completed" && properties.total > 100
//	source in ["web", "app"] and not is_bot
//	lower(url) contains "checkout" or path matches "^/p/[0-9]+$"
//	"coupon" in properties
//
// Names are the columns of the table events. The text of an absent column is "". A key of properties, traits, context or
// extra is compared as what the constant beside it is: with a number if the value was a JSON number, with text or a
// boolean by the value's text. A comparison with an absent key is false, and != is its opposite.
//
// The zero Filter matches everything. It may be used by many goroutines at once.
type Filter struct {
	text string
	test test
}

// row is one row of a parsed frame.
type row struct {
	v *frame.View
	r int
}

// test is a compiled condition.
type test func(row) bool

// CompileFilter reads the text of a filter; "" matches everything.
func CompileFilter(text string) (Filter, error) {
	if strings.TrimSpace(text) == "" {
		return Filter{}, nil
	}
	if len(text) > maxFilter {
		return Filter{}, fmt.Errorf("%w: it has %d bytes, the most is %d", ErrFilter, len(text), maxFilter)
	}
	cfg := conf.CreateNew()
	cfg.MaxNodes = maxNodes
	tree, err := (&parser.Parser{}).Parse(text, cfg)
	if err != nil {
		return Filter{}, fmt.Errorf("%w: %s", ErrFilter, oneLine(err))
	}
	t, err := condition(tree.Node)
	if err != nil {
		if at, ok := errors.AsType[*atNode](err); ok {
			err = (&file.Error{Location: at.node.Location(), Message: at.text}).Bind(tree.Source)
		}
		return Filter{}, fmt.Errorf("%w: %s", ErrFilter, oneLine(err))
	}
	return Filter{text: text, test: t}, nil
}

// String is the text of the filter.
func (f Filter) String() string { return f.text }

func (f Filter) match(x row) bool { return f.test == nil || f.test(x) }

// oneLine leaves out the drawing below the parser's message, which points with dots at a column.
func oneLine(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	return text
}

// atNode is what is wrong with a part of an expression.
type atNode struct {
	node ast.Node
	text string
}

// Error implements error.
func (e *atNode) Error() string { return e.text }

func wrong(n ast.Node, format string, args ...any) error {
	return &atNode{node: n, text: fmt.Sprintf(format, args...)}
}

// condition compiles what is true or false.
func condition(n ast.Node) (test, error) {
	switch n := n.(type) {
	case *ast.BoolNode:
		return func(row) bool { return n.Value }, nil
	case *ast.ChainNode:
		return condition(n.Node)
	case *ast.IdentifierNode:
		if c, ok := columns[n.Value]; ok && frame.Columns[c].Type == "Bool" {
			return func(x row) bool { return x.v.Bool(c, x.r) }, nil
		}
	case *ast.UnaryNode:
		if n.Operator == "not" || n.Operator == "!" {
			t, err := condition(n.Node)
			if err != nil {
				return nil, err
			}
			return func(x row) bool { return !t(x) }, nil
		}
	case *ast.BinaryNode:
		switch n.Operator {
		case "and", "&&", "or", "||":
			return both(n)
		case "==", "!=", "<", "<=", ">", ">=":
			return comparison(n)
		case "in":
			return membership(n)
		case "contains", "startsWith", "endsWith", "matches":
			return search(n)
		}
		return nil, wrong(n, "the operator %s is not possible in a filter", n.Operator)
	}
	return nil, wrong(n, "%s is neither true nor false: compare it, as in event == \"Order Completed\"", show(n))
}

func both(n *ast.BinaryNode) (test, error) {
	a, err := condition(n.Left)
	if err != nil {
		return nil, err
	}
	b, err := condition(n.Right)
	if err != nil {
		return nil, err
	}
	if n.Operator == "and" || n.Operator == "&&" {
		return func(x row) bool { return a(x) && b(x) }, nil
	}
	return func(x row) bool { return a(x) || b(x) }, nil
}

// show is a part of an expression for an error text, kept short.
func show(n ast.Node) string {
	text := n.String()
	if len(text) > 40 {
		text = strings.ToValidUTF8(text[:40], "") + "..."
	}
	return text
}
