package event

import (
	"math"
	"strconv"
	"unsafe"
)

// number is a JSON number as numberEnd read it.
type number struct {
	end      int    // index after it; ^index of the fault if it is not a number
	mantissa uint64 // all its digits, if small
	exp      int    // power of ten that the mantissa is to be multiplied by
	negative bool
	small    bool // mantissa holds all digits: at most 19 of them
}

// numberEnd reads the number at data[i], which is '-' or a digit.
func numberEnd(data []byte, i int) (n number) {
	if data[i] == '-' {
		n.negative = true
		i++
	}
	start := i
	for i < len(data) && data[i]-'0' <= 9 {
		n.mantissa = n.mantissa*10 + uint64(data[i]-'0')
		i++
	}
	digits := i - start
	if digits == 0 || (digits > 1 && data[start] == '0') {
		// No digit at all, or one after a leading zero.
		n.end = ^min(i, start+min(digits, 1))
		return n
	}
	if i < len(data) && data[i] == '.' {
		i++
		start = i
		for i < len(data) && data[i]-'0' <= 9 {
			n.mantissa = n.mantissa*10 + uint64(data[i]-'0')
			i++
		}
		if i == start {
			n.end = ^i
			return n
		}
		digits += i - start
		n.exp = start - i
	}
	if i < len(data) && data[i]|0x20 == 'e' {
		i++
		negative := false
		if i < len(data) && (data[i] == '+' || data[i] == '-') {
			negative = data[i] == '-'
			i++
		}
		start, exp := i, 0
		for i < len(data) && data[i]-'0' <= 9 {
			// Any exponent past this bound goes the slow way, which rereads it.
			exp = min(exp*10+int(data[i]-'0'), 1_000_000)
			i++
		}
		if i == start {
			n.end = ^i
			return n
		}
		if negative {
			exp = -exp
		}
		n.exp += exp
	}
	n.end = i
	n.small = digits <= 19
	return n
}

// pow10 holds the powers of ten that a float64 holds exactly.
var pow10 = [...]float64{
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
	1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
}

// float returns the float64 nearest to the number n, whose literal text is
// text, and whether it is finite. When both the mantissa and the power of ten
// are exact, one multiplication or division rounds once, hence correctly
// (Clinger 1990); the rest goes through strconv.
func (n number) float(text []byte) (float64, bool) {
	if n.small && n.mantissa < 1<<53 && -len(pow10) < n.exp && n.exp < len(pow10) {
		f := float64(n.mantissa)
		switch {
		case n.exp > 0:
			f *= pow10[n.exp]
		case n.exp < 0:
			f /= pow10[-n.exp]
		}
		if n.negative {
			f = -f
		}
		return f, true
	}
	f, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(text), len(text)), 64)
	// The grammar is checked, so the only error left is a value out of range.
	if err != nil || math.IsInf(f, 0) {
		return 0, false
	}
	return f, true
}
