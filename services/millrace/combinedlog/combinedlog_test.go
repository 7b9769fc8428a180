package combinedlog

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

const good = `203.0.113.7 - alice [03/Mar/2024:09:15:02 +0100] "GET /shop?item=4 HTTP/1.1" 200 5120 "https://example.org/" "Mozilla/5.0 (X11)"`

func TestParseReadsEveryField(t *testing.T) {
	got, err := Parse(good)
	if err != nil {
		t.Fatal(err)
	}
	want := Entry{
		Address: "203.0.113.7", User: "alice",
		Time:    time.Date(2024, 3, 3, 8, 15, 2, 0, time.UTC),
		Request: "GET /shop?item=4 HTTP/1.1", Method: "GET", Target: "/shop?item=4", Protocol: "HTTP/1.1",
		Status: 200, Bytes: 5120, Referrer: "https://example.org/", Agent: "Mozilla/5.0 (X11)",
	}
	if !got.Time.Equal(want.Time) {
		t.Errorf("time %v, want %v", got.Time, want.Time)
	}
	got.Time = want.Time
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestParseOddButWellFormed(t *testing.T) {
	line := func(request, bytes, referrer, agent string) string {
		return `2001:db8::1 - - [03/Mar/2024:09:15:02 +0000] "` + request + `" 400 ` + bytes + ` "` + referrer + `" "` + agent + `"`
	}
	get := func(text string) Entry {
		t.Helper()
		e, err := Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		return e
	}
	is := func(got, want any) {
		t.Helper()
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	is(get(line("GET / HTTP/1.1", "-", "-", "-")).Bytes, int64(0))
	is(get(line("GET / HTTP/1.1", "-", "-", "-")).Referrer, "")
	is(get(line("GET / HTTP/1.1", "-", "-", "")).Agent, "")
	is(get(line("GET / HTTP/1.1", "1", "-", "-")).Address, "2001:db8::1")
	is(get(line("-", "1", "-", "-")).Request, "")
	is(get(line("GET /old", "1", "-", "-")).Target, "/old")
	is(get(line("GET /old", "1", "-", "-")).Protocol, "")
	is(get(line("GET /a b HTTP/1.1", "1", "-", "-")).Method, "")
	is(get(line(`\x16\x03\x01\x02`, "1", "-", "-")).Request, "\x16\x03\x01\x02")
	is(get(line("GET / HTTP/1.1", "1", "-", `say \"hi\" \\o/`)).Agent, `say "hi" \o/`)
	is(get(line("GET / HTTP/1.1", "1", "-", `caf\xc3\xa9`)).Agent, "café")
	is(get(line("GET / HTTP/1.1", "1", `http://\xe4\xe5.example/\"`, "-")).Referrer, `http://\xe4\xe5.example/"`)
	is(get(line("GET / HTTP/1.1", "1", "-", `a\qb\x4`)).Agent, `a\qb\x4`)
	is(get(line("GET / HTTP/1.1", "9223372036854775807", "-", "-")).Bytes, int64(9223372036854775807))
}

func TestParseRefusesWithThePlace(t *testing.T) {
	refuse := func(line, msg string, column int) {
		t.Helper()
		_, err := Parse(line)
		var syntax *SyntaxError
		if !errors.As(err, &syntax) {
			t.Errorf("%q: error %v, want a SyntaxError", line, err)
			return
		}
		if !strings.Contains(syntax.Msg, msg) || syntax.Column != column {
			t.Errorf("%q: %v (column %d), want %q at column %d", line, err, syntax.Column, msg, column)
		}
	}
	refuse("", "address is missing", 0)
	refuse("hello", "a space is expected", 5)
	refuse(good+" ", "more than the combined format", len(good))
	refuse(good+` "-"`, "more than the combined format", len(good))
	refuse(good[:len(good)-1], "the user agent has no closing quote", len(good)-1)
	refuse(strings.Replace(good, "[03/Mar", "[03/Foo", 1), "the time is not like", 20)
	refuse(strings.Replace(good, "[03", "03", 1), "a time in square brackets", 20)
	refuse(strings.Replace(good, "200 5120", "20 5120", 1), "the status is not a number", 77)
	refuse(strings.Replace(good, "200 5120", "+20 5120", 1), "the status is not a number", 77)
	refuse(strings.Replace(good, "200 5120", "200 5k", 1), "the number of bytes is not a number", 81)
	refuse(strings.Replace(good, "alice", "a\xffe", 1), "not UTF-8", 15)
	// An escaped quote does not close.
	refuse(good[:len(good)-1]+`\"`, "the user agent has no closing quote", len(good)+1)
}

func FuzzParse(f *testing.F) {
	f.Add(good)
	f.Add(`::1 - - [03/Mar/2024:09:15:02 +0000] "\x16\x03" 400 - "-" "\\\"\xc3\xa9\x"`)
	f.Add(good[:60])
	f.Fuzz(func(t *testing.T, line string) {
		e, err := Parse(line)
		if err != nil {
			var syntax *SyntaxError
			if !errors.As(err, &syntax) || syntax.Column < 0 || syntax.Column > len(line) {
				t.Fatalf("%q: %v", line, err)
			}
			return
		}
		for _, text := range []string{e.Address, e.Ident, e.User, e.Request, e.Referrer, e.Agent} {
			if !utf8.ValidString(text) {
				t.Fatalf("%q gave %q, which is not UTF-8", line, text)
			}
		}
		if e.Status < 0 || e.Status > 999 || e.Bytes < 0 || e.Address == "" || e.Time.IsZero() && !strings.Contains(line, "0001") {
			t.Fatalf("%q gave %+v", line, e)
		}
		if _, err := Parse(line + "x"); err == nil {
			t.Fatalf("%q with more behind it was read", line)
		}
	})
}
