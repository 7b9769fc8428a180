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
	plain := true
	for i := 0; i < len(sql) && plain; {
		switch c := sql[i]; {
		case c == '\'' || c == '"' || c == '`':
			end := closing(sql, i)
			if end < 0 {
				plain = false
				break
			}
			if c != '\'' {
				name := sql[i+1 : end]
				if name == "file" || strings.Contains(name, `\`) {
					return refuseFile(fileDetail + "; backslashes in quoted names are kept out for the same reason")
				}
			}
			i = end + 1
		case isWordByte(c):
			j := i
			for j < len(sql) && isWordByte(sql[j]) {
				j++
			}
			if sql[i:j] == "file" {
				return refuseFile(fileDetail)
			}
			// x'..' and b'..' have no escapes, and $tag$ begins a heredoc.
			if j < len(sql) && sql[j] == '\'' || strings.Contains(sql[i:j], "$") {
				plain = false
			}
			i = j
		case strings.HasPrefix(sql[i:], "--"):
			n := strings.IndexByte(sql[i:], '\n')
			if n < 0 {
				return nil
			}
			i += n + 1
		case strings.HasPrefix(sql[i:], "/*"):
			n := strings.Index(sql[i+2:], "*/")
			plain = n >= 0 && !strings.Contains(sql[i+2:i+2+n], "/*") // newer servers nest comments, older do not
			i += n + 4
		case c >= 0x80, c == '#', strings.HasPrefix(sql[i:], "//"):
			plain = false
		default:
			i++
		}
	}
	if !plain && (fileWord.MatchString(sql) || strings.Contains(sql, `\`)) {
		return refuseFile(fileDetail + "; SQL with heredocs, nested comments or unusual characters outside of quotes must do without the word and without backslashes")
	}
	return nil
}

func isWordByte(c byte) bool {
	return c == '_' || c == '$' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// closing is the index of the quote that ends what the quote at i begins, -1 if none does. A doubled quote and a
// backslash do not end it.
func closing(sql string, i int) int {
	for j := i + 1; j < len(sql); j++ {
		switch sql[j] {
		case '\\':
			j++
		case sql[i]:
			if j+1 < len(sql) && sql[j+1] == sql[i] {
				j++
				continue
			}
			return j
		}
	}
	return -1
}
