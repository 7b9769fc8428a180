package event

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestStringEnd moves each kind of special byte through the eight places of a
// word and past it.
func TestStringEnd(t *testing.T) {
	for _, c := range []struct {
		special string
		flags   stringFlags
	}{
		{"", 0},
		{"\x7f", 0},
		{"é", stringHigh},
		{"\x80", stringHigh},
		{"\xff", stringHigh},
		{`\"`, stringEscaped},
		{`\\`, stringEscaped},
		{`\u0000`, stringEscaped},
		{`\uD83D\uDE00`, stringEscaped},
		{`\uD83D`, stringEscaped | stringLone},
		{`\uD83D\uD83D`, stringEscaped | stringLone},
		{`\uDE00\uD83D`, stringEscaped | stringLone},
		{`\uDE00\uDC00`, stringEscaped | stringLone},
		{`\uD83D\u0041`, stringEscaped | stringLone},
		{"\x00", stringBroken},
		{"\x1f", stringBroken},
		{"\n", stringBroken},
		{`\x`, stringEscaped | stringBroken},
		{`\u12G4`, stringEscaped | stringBroken},
		{`\u+123`, stringEscaped | stringBroken},
	} {
		for pad := range 20 {
			for _, tail := range []string{"", "xyz", "0123456789abcdef"} {
				s := strings.Repeat("p", pad) + c.special + tail
				data := []byte(s + `"` + "é\x00 is outside")
				end, flags := stringEnd(data, 0)
				want := len(s)
				if c.flags&stringBroken != 0 {
					want = pad
				}
				if end != want || flags != c.flags {
					t.Errorf("%q: got %d %b, want %d %b", data, end, flags, want, c.flags)
				}
			}
		}
	}
}

func TestStringThatDoesNotEnd(t *testing.T) {
	for _, s := range []string{"", "a", "0123456", "01234567", "012345678", `\`, `\u`, `\u12`, `\u123`, `\uD83D\uDE0`} {
		if end, flags := stringEnd([]byte(s), 0); flags&stringBroken == 0 || end != len(s) {
			t.Errorf("%q: got %d %b", s, end, flags)
		}
	}
}

// FuzzString compares with encoding/json, which replaces what we refuse.
func FuzzString(f *testing.F) {
	for _, s := range []string{"", "a", `\"`, `\u00e9`, `\ud83d\ude00`, `\ud83d`, "\xff", "\x01", "é", "\u2028", `\/\b\f\n\r\t`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		quoted := []byte(`"` + s + `"`)
		end, flags := stringEnd(quoted, 1)
		var want string
		valid := json.Unmarshal(quoted, &want) == nil
		if ok := flags&stringBroken == 0 && end == len(quoted)-1; ok != valid {
			t.Fatalf("%q: valid is %v, got %d %b", quoted, valid, end, flags)
		}
		if !valid || flags&stringLone != 0 || !utf8.Valid(quoted) {
			return
		}
		if got := unescape(nil, quoted[1:end]); string(got) != want {
			t.Fatalf("%q: got %q, want %q", quoted, got, want)
		}
		if escaped := strings.Contains(s, `\`); escaped != (flags&stringEscaped != 0) {
			t.Fatalf("%q: escaped is %v", quoted, escaped)
		}
	})
}
