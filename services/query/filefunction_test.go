package query

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
		if noFileFunction(sql, nil) != nil || !fileWord.MatchString(sql) {
			return
		}
		if rest := bare(sql); fileWord.MatchString(rest) {
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
