package users

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// maxText bounds one string of a result; an event has 32 KiB.
const maxText = 16 << 20

var errRow = errors.New("a row of the result cannot be read")

// row reads the values of ClickHouse's RowBinary. The first error stays.
type row struct {
	in  *bufio.Reader
	err error
	buf [8]byte
}

func (r *row) fixed(n int) []byte {
	if r.err == nil {
		_, r.err = io.ReadFull(r.in, r.buf[:n])
	}
	if r.err != nil {
		clear(r.buf[:])
	}
	return r.buf[:n]
}

func (r *row) u8() uint8   { return r.fixed(1)[0] }
func (r *row) u16() uint16 { return binary.LittleEndian.Uint16(r.fixed(2)) }
func (r *row) u32() uint32 { return binary.LittleEndian.Uint32(r.fixed(4)) }
func (r *row) u64() uint64 { return binary.LittleEndian.Uint64(r.fixed(8)) }
func (r *row) i64() int64  { return int64(r.u64()) }

func (r *row) count(most uint64) int {
	if r.err != nil {
		return 0
	}
	n, err := binary.ReadUvarint(r.in)
	if err == nil && n > most {
		err = fmt.Errorf("%w: a length of %d", errRow, n)
	}
	if r.err = err; err != nil {
		return 0
	}
	return int(n)
}

func (r *row) text() string {
	b := make([]byte, r.count(maxText))
	if r.err == nil {
		_, r.err = io.ReadFull(r.in, b)
	}
	if r.err != nil {
		return ""
	}
	return string(b)
}

// times reads an Array(Int64).
func (r *row) times() []int64 {
	n := r.count(maxText)
	var all []int64
	for range n {
		if r.err != nil {
			return nil
		}
		all = append(all, r.i64())
	}
	return all
}

// days reads an Array(Int32), days since 1970.
func (r *row) days() []int32 {
	n := r.count(maxText)
	var all []int32
	for range n {
		if r.err != nil {
			return nil
		}
		all = append(all, int32(r.u32())) //nolint:gosec // days before 1970 are negative
	}
	return all
}

// fields reads a Map(String, String) and, behind it, an Array(String) of those keys whose values are numbers.
func (r *row) fields() []field {
	n := r.count(maxText)
	var fields []field
	for range n {
		if r.err != nil {
			return nil
		}
		fields = append(fields, field{key: r.text(), value: r.text()})
	}
	for range r.count(maxText) {
		key := r.text()
		if r.err != nil {
			return nil
		}
		for i := range fields {
			if fields[i].key == key {
				fields[i].number = true
			}
		}
	}
	return fields
}

// end is nil when the row could be read. An end of the result inside of it is unexpected.
func (r *row) end() error {
	if errors.Is(r.err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return r.err
}
