package frame

import (
	"fmt"

	"github.com/klauspost/compress/s2"
)

// MaxNative bounds the size of a decompressed block: far above what the caps
// on frames allow, far below what would hurt a process.
const MaxNative = 64 << 20

// Pack appends the snappy block of a Native block to dst. Snappy and not the
// denser s2 because readers exist in every language; the measured difference
// is in docs/decisions/0001-frames.md.
func Pack(dst, native []byte) []byte {
	n := s2.MaxEncodedLen(len(native))
	if cap(dst) < n {
		dst = make([]byte, n)
	}
	return s2.EncodeSnappy(dst[:n], native)
}

// Unpack decompresses a frame body into dst's memory where it fits.
func Unpack(dst, body []byte) ([]byte, error) {
	n, err := UnpackedLen(body)
	if err != nil {
		return nil, err
	}
	if cap(dst) < n {
		dst = make([]byte, n)
	}
	native, err := s2.Decode(dst[:n], body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return native, nil
}

// UnpackedLen is the size of the Native block in a frame body, as the body's
// own header states it: [Unpack] refuses a body that does not hold as much.
func UnpackedLen(body []byte) (int, error) {
	n, err := s2.DecodedLen(body)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if n > MaxNative {
		return 0, fmt.Errorf("%w: snappy length of %d bytes", ErrDamaged, n)
	}
	return n, nil
}
