package query

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// anySettings finds the word in SQL that cannot be read.
var anySettings = regexp.MustCompile(`(?i:settings)`)

// noInnerSettings refuses a SETTINGS clause anywhere but at the end of the whole statement. ClickHouse does not hold those
// of subqueries, and of all but the last part of a UNION, to the reader's profile (seen with 26.7): one of them may turn off
// readonly and its bounds, and turn on eval(), which runs the text of a string, where no other word can be kept out.
func noInnerSettings(sql string) error {
	seen, inner := false, false
	plain := lex(sql, func(t token) bool {
		switch {
		case t.quoted:
		case strings.EqualFold(t.text, "settings"):
			seen = true
			inner = t.depth != 0
		case seen && t.depth == 0:
			inner = slices.Contains([]string{"UNION", "INTERSECT", "EXCEPT"}, strings.ToUpper(t.text))
		}
		return !inner
	})
	if inner || !plain && anySettings.MatchString(sql) {
		return newProblem(http.StatusForbidden, kindForbidden,
			"a SETTINGS clause belongs to the end of the whole statement: in a subquery, or before UNION, ClickHouse does not check it against the reader's profile")
	}
	return nil
}
