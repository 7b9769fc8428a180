package frame

import (
	"errors"
	"testing"

	"github.com/klauspost/compress/s2"
)

func TestUnpackedLenIsWhatUnpackGives(t *testing.T) {
	for _, n := range []int{0, 1, 1000, 1 << 20} {
		body := Pack(nil, make([]byte, n))
		if got, err := UnpackedLen(body); err != nil || got != n {
			t.Errorf("%d bytes: %d, %v", n, got, err)
		}
	}
	for name, body := range map[string][]byte{
		"nothing": nil, "no length": {0xff}, "more than any block": s2.EncodeSnappy(nil, make([]byte, MaxNative+1)),
	} {
		if n, err := UnpackedLen(body); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
}
