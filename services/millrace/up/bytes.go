package up

import (
	"fmt"
	"strconv"
	"strings"
)

// Bytes is a flag.Value: a number of bytes, also written like 20GiB or 500MB.
type Bytes int64

var byteUnits = []struct {
	name string
	size float64
}{
	{"TiB", 1 << 40},
	{"GiB", 1 << 30},
	{"MiB", 1 << 20},
	{"KiB", 1 << 10},
	{"TB", 1e12},
	{"GB", 1e9},
	{"MB", 1e6},
	{"KB", 1e3},
	{"kB", 1e3},
	{"B", 1},
}

// Set implements flag.Value.
func (b *Bytes) Set(text string) error {
	number, factor := strings.TrimSpace(text), 1.0
	for _, u := range byteUnits {
		if digits, ok := strings.CutSuffix(number, u.name); ok {
			number, factor = strings.TrimSpace(digits), u.size
			break
		}
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || !(n >= 0 && n*factor < 1<<62) {
		return fmt.Errorf("%q is no size like 20GiB, 500MB or 1073741824", text)
	}
	*b = Bytes(n * factor)
	return nil
}

// String implements flag.Value: at most three digits before a binary unit.
func (b Bytes) String() string {
	for _, u := range byteUnits[:4] {
		if float64(b) >= u.size {
			text := strconv.FormatFloat(float64(b)/u.size, 'f', 1, 64)
			return strings.TrimSuffix(text, ".0") + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10)
}
