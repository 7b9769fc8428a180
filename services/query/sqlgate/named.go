package sqlgate

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Named is a query that the operator keeps in a file, <name>.sql:
//
//	-- Orders and revenue by day.
//	--
//	-- What else there is to say about it.
//	--
//	-- @days = 30   How many days back, today included.
//	-- @currency    The currency of the revenue.
//	SELECT ... WHERE event_date > today() - {days:UInt16} AND properties['currency'] = {currency:String}
//
// The first line of the comment at its head is the summary. Lines that begin with @ describe parameters; one with a
// default may be left out of a request. The types are those in the SQL.
type Named struct {
	Name        string  `json:"name"`
	Summary     string  `json:"summary"`
	Description string  `json:"description,omitempty"`
	Params      []Param `json:"params"`

	SQL string `json:"-"`
}

// Param is a parameter of a named query.
type Param struct {
	Name        string  `json:"name"`
	Type        string  `json:"type"` // of ClickHouse
	Description string  `json:"description,omitempty"`
	Default     *string `json:"default,omitempty"` // without one it must be given
}

var (
	queryName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)
	paramLine = regexp.MustCompile(`^@([A-Za-z_][A-Za-z0-9_]*)(?:\s*=\s*(?:'([^']*)'|(\S+)))?(?:\s+(.*))?$`)
	ownName   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)
)

// parseNamed reads the text of a file.
func parseNamed(name, text string) (Named, error) {
	q := Named{Name: name, SQL: text, Params: []Param{}}
	if !queryName.MatchString(name) {
		return q, fmt.Errorf("name %q: want small letters, digits, - and _, and .sql", name)
	}
	if len(text) > MaxSQL {
		return q, fmt.Errorf("it is longer than %d bytes", MaxSQL)
	}
	if strings.IndexByte(text, 0) >= 0 {
		return q, errors.New("it has a NUL byte")
	}
	if err := Check(text, nil); err != nil {
		return q, err
	}
	var err error
	if q.Params, err = placeholders(text); err != nil {
		return q, err
	}
	var words []string
	for l := range strings.Lines(text) {
		l, ok := strings.CutPrefix(strings.TrimSpace(l), "--")
		if !ok {
			break
		}
		l = strings.TrimSpace(l)
		if !strings.HasPrefix(l, "@") {
			words = append(words, l)
			continue
		}
		m := paramLine.FindStringSubmatch(l)
		if m == nil {
			return q, fmt.Errorf("%q: want -- @name description, or -- @name = default  description", l)
		}
		i := slices.IndexFunc(q.Params, func(p Param) bool { return p.Name == m[1] })
		if i < 0 {
			return q, fmt.Errorf("@%s: there is no {%s:Type} in the SQL", m[1], m[1])
		}
		p := &q.Params[i]
		p.Description = m[4]
		if strings.Contains(l, "=") && (m[3] != "" || strings.Contains(l, "'")) {
			value := m[2] + m[3]
			p.Default = &value
		}
	}
	head := strings.TrimSpace(strings.Join(words, "\n"))
	q.Summary, q.Description, _ = strings.Cut(head, "\n")
	q.Description = strings.TrimSpace(q.Description)
	if q.Summary == "" {
		return q, errors.New("the first line must be a comment that says what it answers, such as -- Orders by day")
	}
	if strings.TrimSpace(withoutComments(text)) == "" {
		return q, errors.New("there is no SQL in it")
	}
	return q, nil
}

// placeholders are the {name:Type} of SQL, outside of quotes and comments, each once and in order.
func placeholders(sql string) ([]Param, error) {
	found := []Param{}
	bare := withoutComments(sql)
	for i := 0; i < len(bare); i++ {
		switch c := bare[i]; c {
		case '\'', '"', '`':
			end := closing(bare, i)
			if end < 0 {
				return nil, errors.New("a quote is not closed")
			}
			i = end
		case '{':
			end := strings.IndexByte(bare[i:], '}')
			name, typ, ok := strings.Cut(bare[i+1:max(i+1, i+end)], ":")
			if name, typ = strings.TrimSpace(name), strings.TrimSpace(typ); end < 0 || !ok || !ownName.MatchString(name) || typ == "" {
				continue // the brace of a map, say
			}
			if slices.Contains(reserved, name) {
				return nil, fmt.Errorf("{%s:...}: the name is taken by a parameter of every query (%s)", name, strings.Join(reserved, ", "))
			}
			j := slices.IndexFunc(found, func(p Param) bool { return p.Name == name })
			switch {
			case j < 0:
				found = append(found, Param{Name: name, Type: typ})
			case found[j].Type != typ:
				return nil, fmt.Errorf("{%s:...} has two types, %s and %s", name, found[j].Type, typ)
			}
			i += end
		}
	}
	return found, nil
}

// withoutComments is SQL with a space for every comment.
func withoutComments(sql string) string {
	var b strings.Builder
	for i := 0; i < len(sql); {
		switch c := sql[i]; {
		case c == '\'' || c == '"' || c == '`':
			end := closing(sql, i)
			if end < 0 {
				end = len(sql) - 1
			}
			b.WriteString(sql[i : end+1])
			i = end + 1
		case strings.HasPrefix(sql[i:], "--"):
			n := strings.IndexByte(sql[i:], '\n')
			if n < 0 {
				return b.String()
			}
			b.WriteByte('\n')
			i += n + 1
		case strings.HasPrefix(sql[i:], "/*"):
			n := strings.Index(sql[i+2:], "*/")
			if n < 0 {
				return b.String()
			}
			b.WriteByte(' ')
			i += n + 4
		default:
			b.WriteByte(c)
			i++
		}
	}
	return b.String()
}
