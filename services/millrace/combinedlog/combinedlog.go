// Package combinedlog reads lines of a web server's access log in the combined
// format, as Apache httpd and nginx write it by default:
//
//	address ident user [02/Jan/2006:15:04:05 -0700] "request" status bytes "referrer" "agent"
//
// It is the first step of `millrace import --format combined` and knows nothing
// of events. A line is either read completely or refused with the column where
// it stops being one; nothing is guessed. Source of the format: Apache httpd,
// "Log Files", section "Combined Log Format"; of the escapes: mod_log_config,
// "Format Notes".
package combinedlog

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Entry is one line. Fields that the server left out with a "-" are empty.
type Entry struct {
	Address string // of the client; a host name if the server resolves them
	Ident   string
	User    string
	Time    time.Time // with the offset of the line

	// Request is the request line as the client sent it. Method, Target and
	// Protocol are its parts if it has three, or two without a protocol
	// (HTTP/0.9); else they are empty: servers also log what was no HTTP.
	Request  string
	Method   string
	Target   string // path and query
	Protocol string

	Status   int
	Bytes    int64 // of the answer's body
	Referrer string
	Agent    string
}

// SyntaxError says where a line stops being in the combined format.
type SyntaxError struct {
	Column int // bytes before the fault
	Msg    string
}

// Error implements error. It never quotes the line.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("not a combined log line: %s at column %d", e.Msg, e.Column+1)
}

// timeLayout is Apache's %t.
const timeLayout = "02/Jan/2006:15:04:05 -0700"

// Parse reads one line, without its line feed.
func Parse(line string) (Entry, error) {
	if !utf8.ValidString(line) {
		return Entry{}, &SyntaxError{Msg: "bytes that are not UTF-8", Column: invalidAt(line)}
	}
	s := scanner{line: line}
	var e Entry
	e.Address = s.word("the client's address")
	e.Ident = dash(s.word("the ident"))
	e.User = dash(s.word("the user"))
	e.Time = s.time()
	e.Request = dash(s.quoted("the request"))
	e.Status = int(s.number("the status", 3, false))
	e.Bytes = s.number("the number of bytes", 0, true)
	e.Referrer = dash(s.quoted("the referrer"))
	e.Agent = dash(s.quoted("the user agent"))
	if s.err == nil && s.pos != len(line) {
		s.fail("more than the combined format has")
	}
	if s.err != nil {
		return Entry{}, s.err
	}
	e.splitRequest()
	return e, nil
}

func (e *Entry) splitRequest() {
	parts := strings.Split(e.Request, " ")
	if len(parts) < 2 || len(parts) > 3 || parts[0] == "" || parts[1] == "" {
		return
	}
	if len(parts) == 3 {
		if !strings.HasPrefix(parts[2], "HTTP/") {
			return
		}
		e.Protocol = parts[2]
	}
	e.Method, e.Target = parts[0], parts[1]
}

func dash(s string) string {
	if s == "-" {
		return ""
	}
	return s
}

func invalidAt(s string) int {
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return len(s)
}

// scanner walks over a line; after the first fault it does nothing more.
type scanner struct {
	line string
	pos  int
	err  error
}

func (s *scanner) fail(msg string) {
	if s.err == nil {
		s.err = &SyntaxError{Column: s.pos, Msg: msg}
	}
}

// space skips the one space between fields.
func (s *scanner) space() {
	if s.pos > 0 && s.err == nil {
		if s.pos >= len(s.line) || s.line[s.pos] != ' ' {
			s.fail("a space is expected")
			return
		}
		s.pos++
	}
}

func (s *scanner) word(what string) string {
	s.space()
	if s.err != nil {
		return ""
	}
	end := strings.IndexByte(s.line[s.pos:], ' ')
	if end < 0 {
		end = len(s.line) - s.pos
	}
	if end == 0 {
		s.fail(what + " is missing")
		return ""
	}
	w := s.line[s.pos : s.pos+end]
	s.pos += end
	return w
}

func (s *scanner) time() time.Time {
	s.space()
	if s.err != nil {
		return time.Time{}
	}
	rest := s.line[s.pos:]
	end := strings.IndexByte(rest, ']')
	if end < 0 || rest[0] != '[' {
		s.fail("a time in square brackets is expected")
		return time.Time{}
	}
	t, err := time.Parse(timeLayout, rest[1:end])
	if err != nil {
		s.fail("the time is not like " + timeLayout)
		return time.Time{}
	}
	s.pos += end + 1
	return t
}

// number reads digits: exactly width of them unless width is 0. dashed lets a
// "-" stand for 0.
func (s *scanner) number(what string, width int, dashed bool) int64 {
	at := s.pos
	w := s.word(what)
	if s.err != nil || dashed && w == "-" {
		return 0
	}
	n, err := strconv.ParseUint(w, 10, 63)
	if err != nil || width > 0 && len(w) != width {
		s.pos = at + 1
		s.fail(what + " is not a number")
		return 0
	}
	return int64(n)
}

// quoted reads a string in quotes and takes the escapes out of it.
func (s *scanner) quoted(what string) string {
	s.space()
	if s.err != nil {
		return ""
	}
	if s.pos >= len(s.line) || s.line[s.pos] != '"' {
		s.fail(what + " in quotes is expected")
		return ""
	}
	escaped := false
	for i := s.pos + 1; i < len(s.line); i++ {
		switch s.line[i] {
		case '\\':
			escaped = true
			i++
		case '"':
			text := s.line[s.pos+1 : i]
			s.pos = i + 1
			if escaped {
				text = unescape(text)
			}
			return text
		}
	}
	s.pos = len(s.line)
	s.fail(what + " has no closing quote")
	return ""
}
