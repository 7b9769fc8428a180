package frame

import (
	"encoding/binary"
	"iter"
	"math"
)

// View reads the rows of a Native block. Slices it returns alias the block.
// Parse may be called again for the next block; a View serves one goroutine.
type View struct {
	schema  *Schema
	rows    int
	extents []extent
	strs    [][]span // per string column
	keys    [][]span // per map column
	vals    [][]span // per string map column
}

type span struct{ from, to uint32 }

// NewView returns a View of the schema.
func NewView(s *Schema) *View {
	n := len(s.specs)
	return &View{schema: s, extents: make([]extent, n), strs: make([][]span, n), keys: make([][]span, n), vals: make([][]span, n)}
}

// Parse reads a Native block, or says with [ErrDamaged] why it is none.
func (v *View) Parse(native []byte) error {
	v.rows = 0
	rows, err := v.schema.walk(native, v.extents)
	if err != nil {
		return err
	}
	for i := range v.extents {
		e := &v.extents[i]
		switch v.schema.specs[i].kind {
		case kindFixed:
		case kindString:
			v.strs[i] = index(v.strs[i][:0], e.data)
		case kindMapString:
			v.keys[i] = index(v.keys[i][:0], e.keys)
			v.vals[i] = index(v.vals[i][:0], e.vals)
		case kindMapFixed:
			v.keys[i] = index(v.keys[i][:0], e.keys)
		}
	}
	v.rows = rows
	return nil
}

// Rows is the number of rows of the block parsed last.
func (v *View) Rows() int { return v.rows }

// Str is the String in column c of row r.
func (v *View) Str(c, r int) []byte { return cut(v.extents[c].data, v.strs[c][r]) }

// U16 is the UInt16 in column c of row r.
func (v *View) U16(c, r int) uint16 { return binary.LittleEndian.Uint16(v.fixed(c, r)) }

// U32 is the UInt32 in column c of row r.
func (v *View) U32(c, r int) uint32 { return binary.LittleEndian.Uint32(v.fixed(c, r)) }

// U64 is the UInt64 in column c of row r.
func (v *View) U64(c, r int) uint64 { return binary.LittleEndian.Uint64(v.fixed(c, r)) }

// Millis is the DateTime64(3) in column c of row r.
func (v *View) Millis(c, r int) int64 { return int64(v.U64(c, r)) }

// Bool is the Bool in column c of row r.
func (v *View) Bool(c, r int) bool { return v.fixed(c, r)[0] != 0 }

// Entries yields the entries of the string map in column c of row r.
func (v *View) Entries(c, r int) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, val []byte) bool) {
		from, to := v.entryRange(c, r)
		for i := from; i < to; i++ {
			if !yield(v.key(c, i), v.value(c, i)) {
				return
			}
		}
	}
}

// FloatEntries yields the entries of the Float64 map in column c of row r.
func (v *View) FloatEntries(c, r int) iter.Seq2[[]byte, float64] {
	return func(yield func(k []byte, val float64) bool) {
		from, to := v.entryRange(c, r)
		for i := from; i < to; i++ {
			bits := binary.LittleEndian.Uint64(v.extents[c].vals[i*8:])
			if !yield(v.key(c, i), math.Float64frombits(bits)) {
				return
			}
		}
	}
}

func (v *View) fixed(c, r int) []byte {
	w := v.schema.specs[c].width
	return v.extents[c].data[r*w : r*w+w]
}

func (v *View) entryRange(c, r int) (from, to int) {
	offsets := v.extents[c].data
	if r > 0 {
		from = int(binary.LittleEndian.Uint64(offsets[(r-1)*8:]))
	}
	return from, int(binary.LittleEndian.Uint64(offsets[r*8:]))
}

func (v *View) key(c, i int) []byte   { return cut(v.extents[c].keys, v.keys[c][i]) }
func (v *View) value(c, i int) []byte { return cut(v.extents[c].vals, v.vals[c][i]) }

func cut(data []byte, s span) []byte { return data[s.from:s.to:s.to] }

// index lists where each string lies; walk has proved that all lengths fit.
func index(dst []span, data []byte) []span {
	for pos := 0; pos < len(data); {
		size, w := binary.Uvarint(data[pos:])
		from := pos + w
		pos = from + int(size)
		dst = append(dst, span{uint32(from), uint32(pos)})
	}
	return dst
}
