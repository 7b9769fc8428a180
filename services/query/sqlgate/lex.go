package sqlgate

import (
	"regexp"
	"strings"
)

// token is a word of SQL, or a name in quotation marks.
type token struct {
	text   string
	quoted bool
	depth  int  // of brackets
	dot    bool // a dot follows, or a comment, behind which there may be one
}

// lex hands out the words and quoted names of SQL until take says no. It is false when SQL may mean something else to
// ClickHouse from somewhere on: what was not handed out may hold any word.
func lex(sql string, take func(token) bool) (plain bool) {
	depth := 0
	named := -1 // the end of the last name or closing bracket, behind which a dot begins a member and no number
	for i := 0; i < len(sql); {
		switch c := sql[i]; {
		case c == '\'' || c == '"' || c == '`':
			end := closing(sql, i)
			if end < 0 {
				return false
			}
			if c != '\'' && !take(token{sql[i+1 : end], true, depth, dotAt(sql[end+1:])}) {
				return true
			}
			i = end + 1
			if c != '\'' {
				named = i
			}
		case c >= '0' && c <= '9', c == '.' && beginsNumber(sql[i:], named == i):
			n := len(number.FindString(sql[i:]))
			if n == 0 || i+n < len(sql) && joinsNumber(sql[i+n]) {
				return false
			}
			i += n
		case isWordByte(c):
			j := i
			for j < len(sql) && isWordByte(sql[j]) {
				j++
			}
			if !take(token{sql[i:j], false, depth, dotAt(sql[j:])}) {
				return true
			}
			// x'..' and b'..' have no escapes, and $tag$ begins a heredoc.
			if j < len(sql) && sql[j] == '\'' || strings.Contains(sql[i:j], "$") {
				return false
			}
			i, named = j, j
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
		case c >= 0x80, c == '#', c == '\\', strings.HasPrefix(sql[i:], "//"):
			return false
		default:
			switch c {
			case '(', '[', '{':
				depth++
			case ')', ']', '}':
				depth--
				named = i + 1
			}
			i++
		}
	}
	return true
}

// number is a number of which nobody can doubt where it ends, if nothing follows that [joinsNumber]. ClickHouse takes many
// more for numbers, whose ends are surprising: of .5settings the word settings is none of it, and of 1e--x the first -.
var number = regexp.MustCompile(`^(?:0[xX][0-9a-fA-F]+|0[bB][01]+|(?:[0-9]+(?:_[0-9]+)*(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)`)

func joinsNumber(c byte) bool { return isWordByte(c) || c == '.' || c == '\'' || c == '"' || c == '`' }

// beginsNumber says whether a dot may be the first of a number. ClickHouse sees one in .E5 too, unless a name is before it.
func beginsNumber(sql string, member bool) bool {
	return len(sql) > 1 && (sql[1] >= '0' && sql[1] <= '9' || !member && (sql[1] == 'e' || sql[1] == 'E'))
}

// dotAt says whether a dot is the next thing in the SQL. What cannot be told from one is one.
func dotAt(sql string) bool {
	sql = strings.TrimLeft(sql, " \t\r\n\v\f")
	for _, begins := range []string{".", "--", "/*", "//", "#"} {
		if strings.HasPrefix(sql, begins) {
			return true
		}
	}
	return sql != "" && sql[0] >= 0x80
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
