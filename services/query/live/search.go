package live

import (
	"bytes"
	"fmt"
	"regexp"
	"regexp/syntax"

	"github.com/expr-lang/expr/ast"
)

// search is contains, startsWith, endsWith or matches.
func search(n *ast.BinaryNode) (test, error) {
	o, err := read(n.Left)
	if err != nil {
		return nil, err
	}
	c, err := read(n.Right)
	if err != nil {
		return nil, err
	}
	text, ok := c.value.(string)
	if o.text == nil || !ok {
		return nil, wrong(n, "%s takes a column or a key on its left and a text constant on its right", n.Operator)
	}
	part := []byte(text)
	var found func([]byte) bool
	switch n.Operator {
	case "contains":
		found = func(v []byte) bool { return bytes.Contains(v, part) }
	case "startsWith":
		found = func(v []byte) bool { return bytes.HasPrefix(v, part) }
	case "endsWith":
		found = func(v []byte) bool { return bytes.HasSuffix(v, part) }
	default:
		re, err := compilePattern(text)
		if err != nil {
			return nil, wrong(n.Right, "%s", oneLine(err))
		}
		found = re.Match
	}
	return func(x row) bool { v, ok := o.text(x); return ok && found(v) }, nil
}

// maxPattern bounds what a regular expression becomes once its repetitions are written out: time at an event is that many
// steps for each of its bytes, at most.
const maxPattern = 1000

func compilePattern(text string) (*regexp.Regexp, error) {
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("the pattern cannot be read: %w", err)
	}
	if patternSize(parsed) > maxPattern {
		return nil, fmt.Errorf("the pattern is too large: %d steps are possible once repetitions are written out", maxPattern)
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("the pattern cannot be read: %w", err)
	}
	return re, nil
}

// patternSize is about the number of steps of a pattern. The parser bounds repetitions, so it fits an int.
func patternSize(re *syntax.Regexp) int {
	size := 1 + len(re.Rune)
	for _, sub := range re.Sub {
		size += patternSize(sub)
	}
	if re.Op == syntax.OpRepeat {
		size *= max(re.Min, re.Max, 1)
	}
	return size
}
