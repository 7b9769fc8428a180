package sqlgate

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/millrace/millrace/services/query/problem"
)

// What ClickHouse's grants and policies do not hold is kept out here, by its name: wherever a kept-out word can stand for
// what it names it is refused, with or without parenthesis (APPLY and arrayMap take a function's bare name). Quoted text
// such as properties['file'] stays possible.

// word is a name that is kept out of SQL.
type word struct {
	is      *regexp.Regexp // the whole of a word
	within  *regexp.Regexp // as a word of a text
	letters *regexp.Regexp // anywhere in a text
	detail  string
	instead string // what there is for it
	dotted  bool   // only as what stands before a dot
}

func keptOut(pattern, detail, instead string) word {
	return word{
		is: regexp.MustCompile(`^(?:` + pattern + `)$`), within: regexp.MustCompile(`(?:^|[^A-Za-z0-9_$])(?:` + pattern + `)(?:$|[^A-Za-z0-9_$])`),
		letters: regexp.MustCompile(pattern),
		detail:  detail, instead: instead,
	}
}

func refusal(detail, instead string) error {
	return problem.New(http.StatusForbidden, problem.Forbidden, detail).Instead(instead)
}

// fileWord: the grants keep the reader from the table function file() but not from the ordinary function of that name,
// which reads files below user_files_path on a server and any file at all in the local engine (seen with 26.7). There is
// no grant for functions. Names of functions are case-sensitive here.
var fileWord = keptOut(`file`, "the name file is kept out of SQL here, because ClickHouse's function file() reads files of the server and no grant forbids it",
	"give the column another alias; the text 'file' in quotes is allowed")

// modelWord: this function looks for a library and a model among the files of the server, and no grant forbids it either.
var modelWord = keptOut(`catboostEvaluate`, "the function catboostEvaluate() reads files of the server", "read the rows, and evaluate the model where you are")

// insideWord: the table functions mergeTree...() show the keys of a table, which hold sources and users, past its row
// policies (seen with 26.7), and EXPLAIN tells how much there is of all sources. Only keys of some sources are kept from
// them.
var insideWord = keptOut(`(?i:mergetree[a-z0-9_]*|explain|viewexplain)`, "the table functions mergeTree...() and EXPLAIN look past the rows that this key sees, so they are kept out of its SQL",
	"the statistics of an answer tell what it cost: rows and bytes read, and its time; a key of all sources may EXPLAIN")

// systemWord: a key of some sources has rights on none of these tables, and ClickHouse shows some of them empty, which
// would look like an answer.
var systemWord = word{
	is: regexp.MustCompile(`^(?i:system)$`), within: regexp.MustCompile(`(?i)(?:^|[^a-z0-9_$])system(?:$|[^a-z0-9_$])`),
	letters: regexp.MustCompile(`(?i:system)`), dotted: true,
	detail: "tables of the database system tell about the whole server, so they are kept out of the SQL of this key", instead: "DESCRIBE events shows the columns that there are",
}

// Check refuses SQL of a client that no reader may run, whatever its key. values are those for ClickHouse, parameters
// under param_<name>. What only keys of some sources are kept from is refused by [Gate.Ask].
func Check(sql string, values url.Values) error {
	if err := noSession(sql); err != nil {
		return err
	}
	if err := noInnerSettings(sql); err != nil {
		return err
	}
	if err := noFileFunction(sql, values); err != nil {
		return err
	}
	return modelWord.refuse(sql, values)
}

// inside refuses what keys of some sources are kept from.
func inside(sql string, values url.Values) error {
	// No parameter can stand for what it looks for: {x:Identifier} is no table function.
	if err := insideWord.refuse(sql, nil); err != nil {
		return err
	}
	return systemWord.refuse(sql, values)
}

// noSession refuses statements that change nothing but the session that they are sent in, which ends with them.
func noSession(sql string) error {
	var first string
	lex(sql, func(t token) bool {
		first = strings.ToUpper(t.text)
		return false
	})
	if first == "SET" || first == "USE" {
		return refusal(first+" lasts as long as its own request, and does nothing", "end the question with SETTINGS name = value; names of tables may have their database before them")
	}
	return nil
}

// noFileFunction refuses a question in which file may be a function.
func noFileFunction(sql string, values url.Values) error { return fileWord.refuse(sql, values) }

// refuse reads the SQL as ClickHouse's lexer does as far as quotes, comments and plain numbers go; where that would need
// more knowledge (heredocs, nested comments, other scripts' quotation marks, numbers that go over into words) it does not
// guess but refuses the letters of the word anywhere. Values of {x:Identifier} are names too.
func (w word) refuse(sql string, values url.Values) error {
	refusal := func(more string) error { return refusal(w.detail+more, w.instead) }
	if strings.Contains(strings.ToLower(sql), "identifier") {
		for name, v := range values {
			if strings.HasPrefix(name, "param_") && (w.within.MatchString(v[0]) || strings.Contains(v[0], `\`)) {
				return refusal("; beside an {x:Identifier} no parameter may hold it, or a backslash")
			}
		}
	}
	var found error
	plain := lex(sql, func(t token) bool {
		switch {
		case t.quoted && w.dotted && !t.dot:
		case t.quoted && (w.is.MatchString(t.text) || strings.Contains(t.text, `\`)):
			found = refusal("; backslashes in quoted names are kept out for the same reason")
		case !t.quoted && w.is.MatchString(t.text) && (!w.dotted || t.dot):
			found = refusal("")
		}
		return found == nil
	})
	if found == nil && !plain && (w.letters.MatchString(sql) || strings.Contains(sql, `\`)) {
		found = refusal("; SQL with " + unreadable + " must do without these letters and without backslashes")
	}
	return found
}

// unreadable is what [lex] does not read.
const unreadable = "heredocs, nested comments, unusual characters outside of quotes, or numbers that touch words"

// anySettings finds the word in SQL that cannot be read.
var anySettings = regexp.MustCompile(`(?i:settings)`)

// noInnerSettings refuses a SETTINGS clause anywhere but at the end of the whole statement. ClickHouse does not hold those
// of subqueries, and of all but the last part of a UNION, to the reader's profile (seen with 26.7): one of them may turn off
// readonly and its bounds, and turn on eval(), which runs the text of a string, where no other word can be kept out.
func noInnerSettings(sql string) error {
	seen, inner, profile := false, false, false
	plain := lex(sql, func(t token) bool {
		switch {
		case seen && t.depth == 0 && strings.EqualFold(t.text, "profile"):
			profile = true
		case t.quoted:
		case strings.EqualFold(t.text, "settings"):
			seen = true
			inner = t.depth != 0
		case seen && t.depth == 0:
			inner = slices.Contains([]string{"UNION", "INTERSECT", "EXCEPT", "PARALLEL"}, strings.ToUpper(t.text))
		}
		return !inner && !profile
	})
	if profile {
		return refusal("a question runs with the profile of its key", "set what is wanted one by one, within the profile's bounds")
	}
	if inner || !plain && anySettings.MatchString(sql) {
		return refusal("in a subquery, or before UNION, ClickHouse does not check SETTINGS against the reader's profile",
			"put one SETTINGS clause at the end of the whole statement; SQL with "+unreadable+" must do without one")
	}
	return nil
}
