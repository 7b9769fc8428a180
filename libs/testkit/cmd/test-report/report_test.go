package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	const (
		begin  = `{"Action":"start","Package":"p"}` + "\n" + `{"Action":"run","Package":"p","Test":"A"}` + "\n"
		passA  = `{"Action":"output","Package":"p","Test":"A","Output":"quiet\n"}` + "\n" + `{"Action":"pass","Package":"p","Test":"A"}` + "\n"
		failA  = `{"Action":"output","Package":"p","Test":"A","Output":"loud\n"}` + "\n" + `{"Action":"fail","Package":"p","Test":"A"}` + "\n"
		skipA  = `{"Action":"skip","Package":"p","Test":"A"}` + "\n"
		passed = `{"Action":"pass","Package":"p","Elapsed":1.5}` + "\n"
		failed = `{"Action":"fail","Package":"p"}` + "\n"
		none   = `{"Action":"start","Package":"q"}` + "\n" + `{"Action":"skip","Package":"q"}` + "\n"
		broken = `{"Action":"build-output","ImportPath":"p","Output":"syntax error\n"}` + "\n" + `{"Action":"build-fail","ImportPath":"p"}` + "\n"
		panics = `{"Action":"output","Package":"p","Test":"A","Output":"panic: no\n"}` + "\n"
	)
	is := func(input string, ok bool, says ...string) {
		t.Helper()
		var out bytes.Buffer
		r := newReport(&out)
		if err := r.read(strings.NewReader(input)); err != nil {
			t.Fatal(err)
		}
		if got := r.finish(); got != ok {
			t.Errorf("ok is %v, want %v:\n%s", got, ok, out.String())
		}
		for _, s := range says {
			if not, found := strings.CutPrefix(s, "!"); found == strings.Contains(out.String(), not) {
				t.Errorf("want %q in:\n%s", s, out.String())
			}
		}
	}
	is(begin+passA+passed+none+"exit 0\n", true, "ok    p  1 tests, 1.5s", "1 passed, 0 failed, 0 skipped", "!quiet")
	is(begin+failA+failed+"exit 1\n", false, "--- FAIL: p A", "    loud", "0 passed, 1 failed, 0 skipped")
	is(begin+skipA+passed+"exit 0\n", false, "skipped:  p A", "1 skipped")
	is(broken+"exit 1\n", false, "syntax error", "failed:  p (build)")
	is(begin+panics+failed+"exit 1\n", false, "    panic: no")
	is(begin+passA+"exit 1\n", false, "did not finish:  p")
	is(begin+passA+passed, false, "cut off")
	is(begin+passA+passed+"exit 2\n", false, "ended with 2")
	is("go: no such thing\nexit 1\n", false, "go: no such thing")
	is(none+"exit 0\n", false, "no test ran")
}
