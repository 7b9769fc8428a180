package sqlgate

import (
	"net/url"
	"strings"
	"testing"
)

// FuzzNoFileFunction looks for SQL in which the word could pass unnoticed: wherever it is let through, removing all
// quoted text and comments by another, slower reading must remove the word too.
func FuzzNoFileFunction(f *testing.F) {
	for _, seed := range []string{
		"SELECT 1", "SELECT file('x')", "'file'", "`file`", "-- file\n1", "/* file */", "'a''file'", `'\'file'`, "$$file$$",
		"x'27'file", "'a' /* ' */ file", "‘file’", "\"fi\\le\"", "--'\nfile('", "/*/*'*/file('", "'", "# file", "file", "1file", "file1", "a.file",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		if noFileFunction(sql, nil) != nil || !fileWord.within.MatchString(sql) {
			return
		}
		if rest := bare(sql); fileWord.within.MatchString(rest) {
			t.Errorf("%q is let through, outside of quotes and comments is %q", sql, rest)
		}
	})
}

// bare is SQL without what is in quotes or in comments.
func bare(sql string) string {
	var b strings.Builder
	for sql != "" {
		switch {
		case strings.HasPrefix(sql, "--"):
			_, sql, _ = strings.Cut(sql, "\n")
		case strings.HasPrefix(sql, "/*"):
			_, sql, _ = strings.Cut(sql[2:], "*/")
		case strings.ContainsRune("'\"`", rune(sql[0])):
			quote, i := sql[0], 1
			for i < len(sql) && sql[i] != quote {
				if sql[i] == '\\' {
					i++
				}
				i++
			}
			sql = sql[min(i+1, len(sql)):]
		default:
			b.WriteByte(sql[0])
			sql = sql[1:]
			continue
		}
		b.WriteByte(' ')
	}
	return b.String()
}

func TestNoFileFunctionInParameters(t *testing.T) {
	for _, tc := range []struct {
		sql, value string
		refused    bool
	}{
		{"SELECT {x:String}", "file", false},
		{"SELECT {x:Identifier}", "file", true},
		{"SELECT {x:IDENTIFIER}", "`file`", true},
		{"SELECT {x:Identifier}", `\x66ile`, true},
		{"SELECT {x:Identifier}", "profile", false},
		{"SELECT {x:Identifier}", "user_id", false},
	} {
		err := noFileFunction(tc.sql, url.Values{"param_x": {tc.value}, "default_format": {"CSV"}})
		if (err != nil) != tc.refused {
			t.Errorf("%s with %q: %v", tc.sql, tc.value, err)
		}
	}
}

func TestNoInnerSettings(t *testing.T) {
	for sql, refused := range map[string]bool{
		"SELECT 1 SETTINGS max_threads = 1":                               false,
		"(SELECT 1) UNION ALL (SELECT 2) SETTINGS max_threads = 1":        false,
		"SELECT 1 UNION ALL SELECT 2 SETTINGS max_threads = 1":            false,
		"SELECT 1 SETTINGS max_threads = 1 FORMAT CSV":                    false,
		"SELECT properties['settings'], 'a (SETTINGS' FROM events":        false,
		"SELECT count(`settings`) FROM (SELECT 1 AS `settings`)":          false,
		"SELECT 1 -- (SETTINGS\n":                                         false,
		"SELECT 1 /* (SETTINGS */ SETTINGS max_threads = 1":               false,
		"SELECT {a:Map(String, String)} SETTINGS max_threads = 1":         false,
		"SELECT 'ü' FROM (SELECT 1) SETTINGS max_threads = 1":             false,
		"SELECT * FROM (SELECT 1 SETTINGS readonly = 0)":                  true,
		"SELECT * FROM (SELECT 1 sEtTiNgS readonly = 0)":                  true,
		"SELECT * FROM (SELECT 1 SETTINGS/**/readonly = 0)":               true,
		"SELECT (SELECT 1 SETTINGS readonly = 0)":                         true,
		"SELECT [(SELECT 1 SETTINGS readonly = 0)]":                       true,
		"SELECT 1 SETTINGS readonly = 0 UNION ALL SELECT 2":               true,
		"SELECT 1 SETTINGS readonly = 0 uNiOn DISTINCT SELECT 2":          true,
		"SELECT 1 SETTINGS readonly = 0 INTERSECT SELECT 2":               true,
		"SELECT 1 SETTINGS readonly = 0 EXCEPT SELECT 2":                  true,
		"SELECT 1 SETTINGS readonly = 0 EXCEPT SELECT 2 SETTINGS x = 1":   true,
		"SELECT ')' FROM (SELECT ')' SETTINGS readonly = 0)":              true,
		"SELECT $$)$$ FROM (SELECT 1 SETTINGS readonly = 0)":              true,
		"SELECT 1 -- '\n FROM (SELECT 1 SETTINGS readonly = 0) -- '":      true,
		"SELECT ‘)’, 1 SETTINGS max_threads = 1":                          true, // cannot be read
		"SELECT 'a\\'' FROM (SELECT '\\'' SETTINGS readonly = 0)":         true,
		"SELECT \"a)\" FROM (SELECT 1 AS \"a)\" SETTINGS readonly = 0)":   true,
		"SELECT * FROM view(SELECT 1 SETTINGS readonly = 0)":              true,
		"SELECT 1 WHERE 1 > .5 AND 1e-3 < 0x1f SETTINGS max_threads = 1":  false,
		"SELECT a.1, t1.event, 1_000 FROM t1 SETTINGS max_threads = 1":    false,
		"SELECT * FROM (SELECT 1 WHERE 1 > .5settings readonly = 0)":      true,
		"SELECT 1 SETTINGS max_execution_time=.5union all SELECT 2":       true,
		"SELECT * FROM (SELECT 1e--1\n SETTINGS readonly = 0)":            true,
		"SELECT 0x1p--(SELECT 1 SETTINGS readonly = 0)":                   true,
		"SELECT * FROM mysql('a', 'b', 'c', 'd', 'e', SETTINGS a = 'b') ": true,
	} {
		if err := noInnerSettings(sql); (err != nil) != refused {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

func TestInsideWord(t *testing.T) {
	for sql, refused := range map[string]bool{
		"SELECT * FROM mergeTreeIndex('a', 'b')":         true,
		"SELECT * FROM MergeTreeParts('a', 'b')":         true,
		"SELECT * FROM `mergeTreeIndex`('a', 'b')":       true,
		"explain SELECT 1":                               true,
		"SELECT * FROM (EXPLAIN SELECT 1)":               true,
		"SELECT * FROM viewExplain('EXPLAIN', '', (1))":  true,
		"SELECT $a$ $a$, * FROM mergeTreeIndex('a','b')": true,
		"SELECT sumMerge(a), 'explain' FROM events":      false,
		"SELECT explained, a.mergetre FROM events":       false,
		"SELECT 1 -- EXPLAIN\n":                          false,
	} {
		if err := insideWord.refuse(sql, nil); (err != nil) != refused {
			t.Errorf("%s: %v", sql, err)
		}
	}
}
