package sqlgate

import (
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/millrace/millrace/libs/localdb"
	"github.com/millrace/millrace/libs/testkit"
)

// lexPieces are what words, numbers, quotes and comments are made of, and what may follow them.
var lexPieces = append(strings.Split(`' " `+"`"+` \ -- - / * /* */ // # #! $ $$ $a$ _ ( ) [ ] { } , ; ;; : :: ? @ @@ | || = == != <> <=> -> > % ^ & ~ !`+
	` 1 1e 1e- 1e+ 1e5 1.5 .5 1. . .. a.1 .1. t1.e .e .E5 0x 0x_ 0xf 0xF 0x1p 0x1p- 0b1 0b2 1_0 1__0 1_ 0x1_f x X' b' x'41' e E' N' '' "" /*/ --' \G`+
	` file file( .5file 1file .efile \file settings settings( "file" (file) t.file x`, " "),
	"\n", "\r", "\t", "\v", "\f", " ", " ", "‘", "\u00a0", "\ufeff", "ü", "`file`", "``")

// named is a name, and how deep in brackets it is.
type named struct {
	text  string
	depth int
}

var tokenSpan = regexp.MustCompile(`\((\d+),(\d+),'(\w+)'\)`)

// tokensOf reads the answer of tokenizeQuery: the names up to the first thing that is no SQL, and whether there was one.
func tokensOf(sql, answer string) (names []named, broken bool) {
	depth := 0
	for _, m := range tokenSpan.FindAllStringSubmatch(answer, -1) {
		from, _ := strconv.Atoi(m[1])
		to, _ := strconv.Atoi(m[2])
		switch kind := m[3]; {
		case strings.HasPrefix(kind, "Error"):
			return names, true
		case strings.HasPrefix(kind, "Opening"):
			depth++
		case strings.HasPrefix(kind, "Closing"):
			depth--
		case kind == "BareWord":
			if sql[from] < '0' || sql[from] > '9' { // 1_0 is a number or a word, and nothing that is kept out
				names = append(names, named{sql[from:to], depth})
			}
		case kind == "QuotedIdentifier", kind == "DoubleQuotedIdentifier":
			names = append(names, named{sql[from+1 : to-1], depth})
		}
	}
	return names, false
}

// TestLexAsClickHouse compares what the lexer sees with what ClickHouse's own sees in random text: the names must be the
// same, or the lexer must say that it does not know.
func TestLexAsClickHouse(t *testing.T) {
	db := testkit.StartClickHouse(t)
	random := rand.New(rand.NewPCG(5, 26))
	tame := slices.DeleteFunc(slices.Clone(lexPieces), func(piece string) bool { return !lex(piece, func(token) bool { return true }) })
	plains := 0
	for range 6 {
		list := []string{
			".5settings", "1e--x\n", "0x1p--\n", ".efile", `\Gfile`, "1 > .5settings x = 1", "$$x$$file", "t1.event", "1_000.5e-3--\nfile", "x.1e--\n",
		}
		for range 2000 {
			pieces := tame // else hardly a text is plain
			if random.IntN(4) == 0 {
				pieces = lexPieces
			}
			var b strings.Builder
			for range 2 + random.IntN(9) {
				b.WriteString(pieces[random.IntN(len(pieces))])
			}
			list = append(list, b.String()+" file "+pieces[random.IntN(len(pieces))])
		}
		for i, answer := range tokenized(t, db, list) {
			if compareLex(t, list[i], answer) {
				plains++
			}
		}
		if t.Failed() {
			return
		}
	}
	if plains < 3000 {
		t.Errorf("only %d of the texts were plain: too few to compare", plains)
	}
}

// compareLex says whether the text was plain.
func compareLex(t *testing.T, sql, answer string) bool {
	want, broken := tokensOf(sql, answer)
	var got []named
	plain := lex(sql, func(x token) bool {
		got = append(got, named{x.text, x.depth})
		return true
	})
	if !plain {
		return false
	}
	if broken && len(got) > len(want) { // ClickHouse runs none of it, so what follows does not matter
		got = got[:len(want)]
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q: seen are %+v, ClickHouse sees %+v: %s", sql, got, want, answer)
	}
	return true
}

// tokenized asks ClickHouse how it takes each text apart.
func tokenized(t *testing.T, db *testkit.ClickHouse, list []string) []string {
	t.Helper()
	var b strings.Builder
	b.WriteString("SELECT tokenizeQuery(s) FROM values('s String'")
	for _, sql := range list {
		b.WriteString(",('" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(sql) + "')")
	}
	b.WriteString(") FORMAT TSVRaw")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, db.Addrs().HTTP, strings.NewReader(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(localdb.ReaderUser, db.Password(localdb.ReaderUser))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if res.StatusCode != http.StatusOK || len(lines) != len(list) {
		t.Fatalf("HTTP %d, %d lines for %d texts: %.500s", res.StatusCode, len(lines), len(list), text)
	}
	return lines
}

// FuzzLex looks for text in which the lexer does not come to its end, or hands out what is not there.
func FuzzLex(f *testing.F) {
	for _, piece := range lexPieces {
		f.Add(piece + "file" + piece)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		rest := sql
		lex(sql, func(x token) bool {
			i := strings.Index(rest, x.text)
			if i < 0 || x.text == "" && !x.quoted {
				t.Fatalf("%q holds no %q behind the words before it", sql, x.text)
			}
			rest = rest[i+len(x.text):]
			return true
		})
	})
}
