package reader

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// TestCutWatch feeds results in pieces of every kind.
func TestCutWatch(t *testing.T) {
	const tag = "abcdefghijklmnop"
	block := "\r\n__exception__\r\n" + tag + "\r\nCode: 1. It broke.\n19 " + tag + "\r\n__exception__\r\n"
	for _, tc := range []struct {
		name, body string
		cut        bool
	}{
		{"whole", "a\nb\n", false},
		{"empty", "", false},
		{"cut", "a\n" + block, true},
		{"cut before the first row", block, true},
		{"long and cut", strings.Repeat("x", 100_000) + block, true},
		{"another tag in the rows", strings.ReplaceAll(block, tag, "ponmlkjihgfedcba"), false},
		{"rows after what looks like it", block + "a\n", false},
	} {
		for range 20 {
			w := newCutWatch(tag)
			for rest := tc.body; rest != ""; {
				n := min(len(rest), 1+rand.IntN(len(rest)))
				if n, err := w.Write([]byte(rest[:n])); err != nil || n == 0 {
					t.Fatal(n, err)
				}
				rest = rest[n:]
			}
			if w.cut() != tc.cut {
				t.Fatalf("%s: cut is %v", tc.name, w.cut())
			}
			if tc.cut && w.message() != "Code: 1. It broke." {
				t.Fatalf("%s: message %q", tc.name, w.message())
			}
		}
	}
	if w := newCutWatch(""); w.cut() || w.message() == "" {
		t.Error("without a tag nothing can be seen")
	}
}
