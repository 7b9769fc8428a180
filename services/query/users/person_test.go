package users

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/millrace/millrace/schemas/clickhouse"
)

// ClickHouse finds a projection by the text of its expressions.
func TestPersonIsThatOfTheProjection(t *testing.T) {
	text, err := fs.ReadFile(clickhouse.FS, "00003_events_by_person.sql")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), sqlPerson); n != 2 {
		t.Errorf("the projection has %s %d times, want it among its columns and in its order", sqlPerson, n)
	}
}

func TestSlicesOf(t *testing.T) {
	const noon = 12 * 3600 * 1000
	many := make([]counted, 0, maxSlices+1)
	for i := range maxSlices + 1 {
		many = append(many, counted{name: fmt.Sprintf("n%d", i), n: 1, newest: []int64{noon}})
	}
	for what, test := range map[string]struct {
		h    history
		want string
	}{
		"only what is shown": {
			history{bound: noon, counted: []counted{{name: "A", n: 3, newest: []int64{3 * noon, noon, noon - 1}}}},
			"[('1970-01-01','A'),('1970-01-02','A')]",
		},
		"named by the type, and by both": {
			history{counted: []counted{{name: "page", n: 1, unnamed: 1, newest: []int64{0}}, {name: "track", n: 2, unnamed: 1, fresh: []int32{9}}}},
			"[('1970-01-01',''),('1970-01-10',''),('1970-01-10','track')]",
		},
		"before 1970": {
			history{bound: -noon, counted: []counted{{name: "A", n: 1, newest: []int64{-1}}}}, "[('1969-12-31','A')]",
		},
		"identifies of any age": {
			history{bound: 5, counted: []counted{{name: "identify", n: 9, unnamed: 9, joined: []int32{-1, 2}}}}, "[('1969-12-31',''),('1970-01-03','')]",
		},
		"odd names":                {history{counted: []counted{{name: `it's \`, n: 1, newest: []int64{0}}}}, `[('1970-01-01','it\'s \\')]`},
		"as many as are named":     {history{counted: many[:maxSlices]}, "["},
		"one more":                 {history{counted: many}, ""},
		"not all names are known":  {history{total: &counted{}, counted: many[:1]}, ""},
		"names that are very long": {history{counted: []counted{{name: strings.Repeat("n", maxIDsText/4+1), n: 1, newest: []int64{0}}}}, ""},
	} {
		got := slicesOf(map[string]*history{"": &test.h})
		if test.want == "[" {
			if n := strings.Count(got, "("); n != maxSlices {
				t.Errorf("%s: %d slices", what, n)
			}
		} else if got != test.want {
			t.Errorf("%s: %s, want %s", what, got, test.want)
		}
	}
}
