package event

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// stringFlags are what stringEnd saw in a string.
type stringFlags uint8

const (
	stringEscaped stringFlags = 1 << iota // has escapes: the text differs from the bytes
	stringHigh                            // has bytes above ASCII: UTF-8 must be checked
	stringLone                            // has an escaped surrogate without its other half
	stringBroken                          // ends early, has a control character or a bad escape
)

const (
	eachByte = 0x0101010101010101
	highBits = 0x8080808080808080
)

// stringEnd returns the index of the quote that ends the string whose first
// byte is data[i]; with stringBroken, the index of the fault.
//
// It looks at eight bytes at a time for one that is a quote, a backslash or a
// control character: x-0x20 borrows into the high bit for bytes below 0x20,
// and x^c - 1 does so for bytes equal to c. Borrows spread only upwards, so
// the lowest bit found is exact.
func stringEnd(data []byte, i int) (end int, flags stringFlags) {
	for {
		for i+8 <= len(data) {
			w := binary.LittleEndian.Uint64(data[i:])
			found := ((w - eachByte*' ') | ((w ^ eachByte*'"') - eachByte) | ((w ^ eachByte*'\\') - eachByte)) &^ w & highBits
			if found == 0 {
				if w&highBits != 0 {
					flags |= stringHigh
				}
				i += 8
				continue
			}
			if w&(found&-found-1)&highBits != 0 {
				flags |= stringHigh
			}
			i += bits.TrailingZeros64(found) >> 3
			goto special
		}
		for {
			if i >= len(data) {
				return len(data), flags | stringBroken
			}
			c := data[i]
			if c == '"' || c == '\\' || c < ' ' {
				break
			}
			if c >= utf8.RuneSelf {
				flags |= stringHigh
			}
			i++
		}
	special:
		switch data[i] {
		case '"':
			return i, flags
		case '\\':
			next, f := escapeEnd(data, i)
			flags |= stringEscaped | f
			if f&stringBroken != 0 {
				return next, flags
			}
			i = next
		default:
			return i, flags | stringBroken
		}
	}
}

// escapeEnd returns the index after the escape at data[i], a surrogate pair
// being one escape; with stringBroken, the index of the fault.
func escapeEnd(data []byte, i int) (int, stringFlags) {
	if i+1 >= len(data) {
		return len(data), stringBroken
	}
	switch data[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2, 0
	case 'u':
	default:
		return i, stringBroken
	}
	r, ok := hex4(data, i+2)
	if !ok {
		if i+6 > len(data) && allHex(data[i+2:]) {
			return len(data), stringBroken
		}
		return i, stringBroken
	}
	if r < 0xD800 || r > 0xDFFF {
		return i + 6, 0
	}
	if _, ok := pair(data, i, r); ok {
		return i + 12, 0
	}
	return i + 6, stringLone
}

// pair joins the high surrogate r, escaped at data[i], with the escape behind it.
func pair(data []byte, i int, r rune) (rune, bool) {
	if r > 0xDBFF || i+8 > len(data) || data[i+6] != '\\' || data[i+7] != 'u' {
		return 0, false
	}
	low, ok := hex4(data, i+8)
	if !ok || low < 0xDC00 || low > 0xDFFF {
		return 0, false
	}
	return 0x10000 + (r-0xD800)<<10 + (low - 0xDC00), true
}

// hex4 reads the four hexadecimal digits at data[i].
func hex4(data []byte, i int) (rune, bool) {
	if i+4 > len(data) {
		return 0, false
	}
	var r rune
	for _, c := range data[i : i+4] {
		d, ok := hexDigit(c)
		if !ok {
			return 0, false
		}
		r = r<<4 | d
	}
	return r, true
}

func hexDigit(c byte) (rune, bool) {
	switch {
	case '0' <= c && c <= '9':
		return rune(c - '0'), true
	case 'a' <= c && c <= 'f':
		return rune(c-'a') + 10, true
	case 'A' <= c && c <= 'F':
		return rune(c-'A') + 10, true
	}
	return 0, false
}

func allHex(data []byte) bool {
	for _, c := range data {
		if _, ok := hexDigit(c); !ok {
			return false
		}
	}
	return true
}

// unescape appends the text of the string s, which stringEnd found well
// formed and without lone surrogates, to dst.
func unescape(dst, s []byte) []byte {
	for i := 0; i < len(s); {
		c := s[i]
		if c != '\\' {
			dst = append(dst, c)
			i++
			continue
		}
		c = s[i+1]
		if c != 'u' {
			dst = append(dst, unescaped(c))
			i += 2
			continue
		}
		r, _ := hex4(s, i+2)
		step := 6
		if joined, ok := pair(s, i, r); ok {
			r, step = joined, 12
		}
		dst = utf8.AppendRune(dst, r)
		i += step
	}
	return dst
}

// unescaped is what a backslash and c stand for.
func unescaped(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c // a quote, a backslash or a slash
}
