package ingester

import (
	"fmt"
	"strconv"
	"strings"
)

// bytesValue is a flag.Value in bytes, also as 64KiB, 512MiB or 2GiB.
type bytesValue int64

var byteUnits = []struct {
	name string
	size int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}

// Set implements flag.Value.
func (b *bytesValue) Set(text string) error {
	digits, factor := text, int64(1)
	for _, u := range byteUnits {
		if d, ok := strings.CutSuffix(text, u.name); ok {
			digits, factor = strings.TrimSpace(d), u.size
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > (1<<62)/factor {
		return fmt.Errorf("%q is no number of bytes like 1048576, 512MiB or 2GiB", text)
	}
	*b = bytesValue(n * factor)
	return nil
}

// String implements flag.Value.
func (b *bytesValue) String() string {
	for _, u := range byteUnits {
		if n := int64(*b); n != 0 && n%u.size == 0 {
			return strconv.FormatInt(n/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(*b), 10)
}
