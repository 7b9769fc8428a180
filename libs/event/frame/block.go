package frame

import (
	"encoding/binary"
	"math"
)

// Block collects rows column by column. Write every column of a row, then
// call EndRow. It is owned by one goroutine and made to be reused: Reset keeps
// the buffers.
type Block struct {
	schema *Schema
	cols   []column
	rows   int
}

// column holds the encoded bytes of one column. For maps, data holds the
// cumulative offsets, keys and values the two nested columns.
type column struct {
	data       []byte
	keys, vals []byte
	entries    uint64
}

// NewBlock returns an empty block of the schema.
func NewBlock(s *Schema) *Block { return &Block{schema: s, cols: make([]column, len(s.specs))} }

// Reset empties the block and keeps its memory.
func (b *Block) Reset() {
	for i := range b.cols {
		c := &b.cols[i]
		c.data, c.keys, c.vals, c.entries = c.data[:0], c.keys[:0], c.vals[:0], 0
	}
	b.rows = 0
}

// Rows is the number of finished rows.
func (b *Block) Rows() int { return b.rows }

// Size is the number of bytes of the encoded columns.
func (b *Block) Size() int {
	n := 0
	for i := range b.cols {
		n += len(b.cols[i].data) + len(b.cols[i].keys) + len(b.cols[i].vals)
	}
	return n
}

// Bool writes a Bool value of column c.
func (b *Block) Bool(c int, v bool) {
	var x byte
	if v {
		x = 1
	}
	b.cols[c].data = append(b.cols[c].data, x)
}

// U16 writes a UInt16 value of column c.
func (b *Block) U16(c int, v uint16) {
	b.cols[c].data = binary.LittleEndian.AppendUint16(b.cols[c].data, v)
}

// U32 writes a UInt32 value of column c.
func (b *Block) U32(c int, v uint32) {
	b.cols[c].data = binary.LittleEndian.AppendUint32(b.cols[c].data, v)
}

// U64 writes a UInt64 value of column c.
func (b *Block) U64(c int, v uint64) {
	b.cols[c].data = binary.LittleEndian.AppendUint64(b.cols[c].data, v)
}

// Millis writes a DateTime64(3) value of column c: milliseconds since 1970.
func (b *Block) Millis(c int, v int64) { b.U64(c, uint64(v)) }

// Str writes a String value of column c.
func (b *Block) Str(c int, v []byte) { b.cols[c].data = appendString(b.cols[c].data, v) }

// Text writes a String value of column c.
func (b *Block) Text(c int, v string) { b.cols[c].data = appendString(b.cols[c].data, v) }

// Entry adds one entry to the map of column c in the row being written.
func (b *Block) Entry(c int, key, value []byte) {
	col := &b.cols[c]
	col.keys = appendString(col.keys, key)
	col.vals = appendString(col.vals, value)
	col.entries++
}

// FloatEntry adds one entry to the Float64 map of column c.
func (b *Block) FloatEntry(c int, key []byte, value float64) {
	col := &b.cols[c]
	col.keys = appendString(col.keys, key)
	col.vals = binary.LittleEndian.AppendUint64(col.vals, math.Float64bits(value))
	col.entries++
}

// EndRow finishes the row: maps that got no entry are empty.
func (b *Block) EndRow() {
	for _, i := range b.schema.maps {
		c := &b.cols[i]
		c.data = binary.LittleEndian.AppendUint64(c.data, c.entries)
	}
	b.rows++
}

// AppendNative appends the block in ClickHouse's Native format.
func (b *Block) AppendNative(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(b.cols)))
	dst = binary.AppendUvarint(dst, uint64(b.rows))
	for i := range b.cols {
		dst = append(dst, b.schema.specs[i].header...)
		dst = append(dst, b.cols[i].data...)
		dst = append(dst, b.cols[i].keys...)
		dst = append(dst, b.cols[i].vals...)
	}
	return dst
}

// Column returns the schema entry of column c and its encoded bytes as the
// native protocol wants them, in up to three pieces to be sent in order.
func (b *Block) Column(c int) (Column, [3][]byte) {
	col := &b.cols[c]
	return b.schema.Columns[c], [3][]byte{col.data, col.keys, col.vals}
}

func appendString[T ~string | ~[]byte](dst []byte, v T) []byte {
	if len(v) < 0x80 {
		dst = append(dst, byte(len(v)))
	} else {
		dst = binary.AppendUvarint(dst, uint64(len(v)))
	}
	return append(dst, v...)
}
