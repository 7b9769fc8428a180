package query

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// ClickHouse's grants keep the reader from the table function file() but not from the ordinary function of that name,
// which reads files below user_files_path on a server and any file at all in the local engine (seen with 26.7). There is
// no grant for functions, so this one is kept out here, by its name: wherever the name can stand for the function it is
// refused, with or without parenthesis (APPLY and arrayMap take the bare name). Names of functions are case-sensitive
// here. Quoted text such as properties['file'] stays possible.

var fileWord = regexp.MustCompile(`(^|[^A-Za-z0-9_$])file($|[^A-Za-z0-9_$])`)

func refuseFile(detail string) error {
	return newProblem(http.StatusForbidden, kindForbidden, detail)
}

const fileDetail = "the name file is kept out of SQL here, because ClickHouse's function file() reads files of the server and no grant forbids it; " +
	"a column can be given another alias, and the text 'file' in quotes is allowed"

// noFileFunction refuses a question in which file may be a function. It reads the SQL as ClickHouse's lexer does as far
// as quotes and comments go; where that would need more knowledge (heredocs, nested comments, other scripts' quotation
// marks) it does not guess but refuses the word anywhere. Values of {x:Identifier} are names too.
func noFileFunction(sql string, values url.Values) error {
	if strings.Contains(strings.ToLower(sql), "identifier") {
		for name, v := range values {
			if strings.HasPrefix(name, "param_") && (fileWord.MatchString(v[0]) || strings.Contains(v[0], `\`)) {
				return refuseFile(fileDetail + "; beside an {x:Identifier} no parameter may hold it, or a backslash")
			}
		}
	}
	var found error
	plain := lex(sql, func(t token) bool {
		switch {
		case t.quoted && (t.text == "file" || strings.Contains(t.text, `\`)):
			found = refuseFile(fileDetail + "; backslashes in quoted names are kept out for the same reason")
		case !t.quoted && t.text == "file":
			found = refuseFile(fileDetail)
		}
		return found == nil
	})
	if found == nil && !plain && (fileWord.MatchString(sql) || strings.Contains(sql, `\`)) {
		found = refuseFile(fileDetail + "; SQL with heredocs, nested comments or unusual characters outside of quotes must do without the word and without backslashes")
	}
	return found
}
