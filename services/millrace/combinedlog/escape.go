package combinedlog

import (
	"strings"
	"unicode/utf8"
)

// unescape takes the escapes of both servers out of a quoted field: \" and \\,
// Apache's C-style letters, and \xhh for other bytes. Where bytes so written
// are not UTF-8 (old encodings, binary noise), the text keeps all its \xhh as
// they stand, so that nothing is lost and different fields stay different.
func unescape(s string) string {
	if text := decode(s, true); utf8.ValidString(text) {
		return text
	}
	return decode(s, false)
}

func decode(s string, hex bool) string {
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		if hex && s[i+1] == 'x' && i+3 < len(s) {
			hi, lo := nibble(s[i+2]), nibble(s[i+3])
			if hi >= 0 && lo >= 0 {
				b.WriteByte(byte(hi<<4 | lo))
				i += 3
				continue
			}
		}
		if c := letter(s[i+1]); c != 0 {
			b.WriteByte(c)
			i++
			continue
		}
		b.WriteByte('\\') // an escape that neither server writes stays as it is
	}
	return b.String()
}

// letter is what a backslash and c stand for; 0 if nothing.
func letter(c byte) byte {
	switch c {
	case '"', '\\':
		return c
	case 'b':
		return '\b'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'v':
		return '\v'
	case 'f':
		return '\f'
	}
	return 0
}

func nibble(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
