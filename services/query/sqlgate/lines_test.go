package sqlgate

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/millrace/millrace/services/query/problem"
)

func TestLines(t *testing.T) {
	whole := strings.Repeat("x", maxLine)
	for _, tc := range []struct {
		name, text string
		want       []string
	}{
		{"nothing", "", nil},
		{"lines", "a\nb\r\n\r\n\nc", []string{"a", "b", "c"}},
		{"at the bound", "a\n" + whole + "\nb\n", []string{"a", whole, "b"}},
		{"at the bound and without an end", whole, []string{whole}},
	} {
		in := newLines(iotest.HalfReader(strings.NewReader(tc.text)))
		for _, want := range tc.want {
			if got, err := in.next(); err != nil || string(got) != want {
				t.Errorf("%s: %.20q of %d bytes, %v; want %.20q", tc.name, got, len(got), err, want)
			}
		}
		if got, err := in.next(); !errors.Is(err, io.EOF) {
			t.Errorf("%s: at the end %.20q, %v", tc.name, got, err)
		}
	}
	for _, end := range []string{"", "\n", "\nb\n"} {
		in := newLines(strings.NewReader(whole + "x" + end))
		_, err := in.next()
		if p, ok := errors.AsType[*problem.Problem](err); !ok || !p.Of(problem.Limit) {
			t.Errorf("one byte more, then %q: %v", end, err)
		}
	}
	broken := fmt.Errorf("broken")
	in := newLines(io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(broken)))
	if got, err := in.next(); err != nil || string(got) != "a" {
		t.Errorf("before it breaks: %q, %v", got, err)
	}
	if _, err := in.next(); !errors.Is(err, broken) {
		t.Errorf("it breaks: %v", err)
	}
}
