package svc

import (
	"fmt"
	"strconv"
	"strings"
)

// Bytes is a flag.Value: a number of bytes, written as a plain number or as a
// number and one of the units below, with or without a space between:
//
//	KiB MiB GiB TiB   powers of 1024
//	kB MB GB TB       powers of 1000; KB is taken too
//	B                 one byte
//
// The number may have a fraction (1.5GiB); what is left of a byte is dropped.
// The most is 4 EiB less one.
type Bytes int64

var byteUnits = []struct {
	name string
	size int64
}{
	{"TiB", 1 << 40},
	{"GiB", 1 << 30},
	{"MiB", 1 << 20},
	{"KiB", 1 << 10},
	{"TB", 1e12},
	{"GB", 1e9},
	{"MB", 1e6},
	{"kB", 1e3},
	{"KB", 1e3},
	{"B", 1},
}

// shownUnits is how many of byteUnits, from the top, a size is written in.
const shownUnits = 4

// Set implements flag.Value.
func (b *Bytes) Set(text string) error {
	number, factor := strings.TrimSpace(text), int64(1)
	for _, u := range byteUnits {
		if digits, ok := strings.CutSuffix(number, u.name); ok {
			number, factor = strings.TrimSpace(digits), u.size
			break
		}
	}
	const most = 1<<62 - 1
	if n, err := strconv.ParseInt(number, 10, 64); err == nil && n >= 0 && n <= most/factor {
		*b = Bytes(n * factor) // exact, where a float64 would not be
		return nil
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || !(n >= 0 && n*float64(factor) < most) {
		return fmt.Errorf("%q is no size like 20GiB, 500MB or 1073741824", text)
	}
	*b = Bytes(n * float64(factor))
	return nil
}

// String implements flag.Value: the same number of bytes, in the largest
// binary unit that divides it, so that Set reads back what was written.
func (b Bytes) String() string {
	for _, u := range byteUnits[:shownUnits] {
		if n := int64(b); n != 0 && n%u.size == 0 {
			return strconv.FormatInt(n/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// Short is for people: one digit after the point at most, in a binary unit. It
// is rounded down, so that it fits wherever b is the most that fits.
func (b Bytes) Short() string {
	for _, u := range byteUnits[:shownUnits] {
		if n := int64(b); n >= u.size {
			tenths := n % u.size * 10 / u.size // the rest is below 1 TiB: no overflow
			text := strconv.FormatInt(n/u.size, 10)
			if tenths > 0 {
				text += "." + strconv.FormatInt(tenths, 10)
			}
			return text + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10)
}
