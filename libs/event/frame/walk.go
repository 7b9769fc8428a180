package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrDamaged says that bytes are not a block of the schema. It is permanent:
// reading them again will not help.
var ErrDamaged = errors.New("frame: not a readable block")

// extent is where one column lies in a Native block.
type extent struct {
	data, keys, vals []byte
	entries          uint64
}

// walk finds every column of a Native block and proves that all lengths add
// up: no row is decoded, no byte is copied. out has one element per column.
func (s *Schema) walk(native []byte, out []extent) (rows int, err error) {
	r := reader{buf: native}
	cols, n := r.uvarint(), r.uvarint()
	if r.bad || cols != uint64(len(s.specs)) {
		return 0, fmt.Errorf("%w: %d columns, want %d", ErrDamaged, cols, len(s.specs))
	}
	if n > uint64(len(native)) { // every row takes a byte at least
		return 0, fmt.Errorf("%w: %d rows in %d bytes", ErrDamaged, n, len(native))
	}
	for i := range s.specs {
		spec := &s.specs[i]
		if h := r.take(uint64(len(spec.header))); string(h) != string(spec.header) {
			return 0, fmt.Errorf("%w: column %d is not %s %s", ErrDamaged, i, s.Columns[i].Name, s.Columns[i].Type)
		}
		e := &out[i]
		*e = extent{}
		switch spec.kind {
		case kindFixed:
			e.data = r.take(n * uint64(spec.width))
		case kindString:
			e.data = r.strings(n)
		case kindMapString, kindMapFixed:
			e.data = r.take(n * 8)
			if e.entries, err = lastOffset(e.data, len(native)); err != nil {
				return 0, err
			}
			e.keys = r.strings(e.entries)
			if spec.kind == kindMapString {
				e.vals = r.strings(e.entries)
			} else {
				e.vals = r.take(e.entries * uint64(spec.width))
			}
		}
		if r.bad {
			return 0, fmt.Errorf("%w: column %s is cut short", ErrDamaged, s.Columns[i].Name)
		}
	}
	if r.pos != len(native) {
		return 0, fmt.Errorf("%w: %d bytes after the last column", ErrDamaged, len(native)-r.pos)
	}
	return int(n), nil
}

// lastOffset checks that cumulative offsets never fall and returns the last.
func lastOffset(offsets []byte, limit int) (uint64, error) {
	var last uint64
	for i := 0; i+8 <= len(offsets); i += 8 {
		v := binary.LittleEndian.Uint64(offsets[i:])
		if v < last || v > uint64(limit) {
			return 0, fmt.Errorf("%w: map offset %d after %d", ErrDamaged, v, last)
		}
		last = v
	}
	return last, nil
}

type reader struct {
	buf []byte
	pos int
	bad bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.buf[r.pos:])
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.pos += n
	return v
}

func (r *reader) take(n uint64) []byte {
	if r.bad || n > uint64(len(r.buf)-r.pos) {
		r.bad = true
		return nil
	}
	b := r.buf[r.pos : r.pos+int(n)]
	r.pos += int(n)
	return b
}

// strings steps over n strings and returns the bytes they take.
func (r *reader) strings(n uint64) []byte {
	if r.bad {
		return nil
	}
	buf, pos := r.buf, r.pos
	for ; n > 0; n-- {
		if pos < len(buf) && buf[pos] < 0x80 {
			pos += 1 + int(buf[pos])
		} else {
			size, w := uint64(0), 0
			if pos < len(buf) {
				size, w = binary.Uvarint(buf[pos:])
			}
			if w <= 0 || size > uint64(len(buf)) {
				r.bad = true
				return nil
			}
			pos += w + int(size)
		}
		if pos > len(buf) {
			r.bad = true
			return nil
		}
	}
	b := buf[r.pos:pos]
	r.pos = pos
	return b
}
