package query

import "strings"

// token is a word of SQL, or a name in quotation marks.
type token struct {
	text   string
	quoted bool
	depth  int // of brackets
}

// lex hands out the words and quoted names of SQL until take says no. It is false when SQL may mean something else to
// ClickHouse from somewhere on: what was not handed out may hold any word.
func lex(sql string, take func(token) bool) (plain bool) {
	depth := 0
	for i := 0; i < len(sql); {
		switch c := sql[i]; {
		case c == '\'' || c == '"' || c == '`':
			end := closing(sql, i)
			if end < 0 {
				return false
			}
			if c != '\'' && !take(token{sql[i+1 : end], true, depth}) {
				return true
			}
			i = end + 1
		case isWordByte(c):
			j := i
			for j < len(sql) && isWordByte(sql[j]) {
				j++
			}
			if !take(token{sql[i:j], false, depth}) {
				return true
			}
			// x'..' and b'..' have no escapes, and $tag$ begins a heredoc.
			if j < len(sql) && sql[j] == '\'' || strings.Contains(sql[i:j], "$") {
				return false
			}
			i = j
		case strings.HasPrefix(sql[i:], "--"):
			n := strings.IndexByte(sql[i:], '\n')
			if n < 0 {
				return true
			}
			i += n + 1
		case strings.HasPrefix(sql[i:], "/*"):
			n := strings.Index(sql[i+2:], "*/")
			if n < 0 || strings.Contains(sql[i+2:i+2+n], "/*") { // newer servers nest comments, older do not
				return false
			}
			i += n + 4
		case c >= 0x80, c == '#', strings.HasPrefix(sql[i:], "//"):
			return false
		default:
			switch c {
			case '(', '[', '{':
				depth++
			case ')', ']', '}':
				depth--
			}
			i++
		}
	}
	return true
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
