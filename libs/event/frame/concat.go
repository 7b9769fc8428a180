package frame

import "encoding/binary"

// Joiner appends whole Native blocks to a Block by copying the bytes of their
// columns. It keeps the scratch memory of the walk, so one Joiner serves one
// goroutine.
type Joiner struct {
	schema  *Schema
	extents []extent
}

// NewJoiner returns a Joiner of the schema.
func NewJoiner(s *Schema) *Joiner { return &Joiner{schema: s, extents: make([]extent, len(s.specs))} }

// Append adds every row of a Native block to b and returns their number. A
// block that cannot be read ([ErrDamaged]) leaves b as it was.
func (j *Joiner) Append(b *Block, native []byte) (int, error) {
	rows, err := j.schema.walk(native, j.extents)
	if err != nil {
		return 0, err
	}
	for i := range j.extents {
		e, c := &j.extents[i], &b.cols[i]
		if j.schema.specs[i].kind < kindMapString {
			c.data = append(c.data, e.data...)
			continue
		}
		c.data = appendOffsets(c.data, e.data, c.entries)
		c.keys = append(c.keys, e.keys...)
		c.vals = append(c.vals, e.vals...)
		c.entries += e.entries
	}
	b.rows += rows
	return rows, nil
}

func appendOffsets(dst, offsets []byte, base uint64) []byte {
	if base == 0 {
		return append(dst, offsets...)
	}
	for i := 0; i+8 <= len(offsets); i += 8 {
		dst = binary.LittleEndian.AppendUint64(dst, binary.LittleEndian.Uint64(offsets[i:])+base)
	}
	return dst
}

// AppendRow copies row r of a view into b: the slow path that leaves out or
// isolates single rows.
func (b *Block) AppendRow(v *View, r int) {
	for i := range b.schema.specs {
		spec, c := &b.schema.specs[i], &b.cols[i]
		switch spec.kind {
		case kindFixed:
			c.data = append(c.data, v.fixed(i, r)...)
		case kindString:
			c.data = appendString(c.data, v.Str(i, r))
		case kindMapString, kindMapFixed:
			from, to := v.entryRange(i, r)
			for k := from; k < to; k++ {
				c.keys = appendString(c.keys, v.key(i, k))
				if spec.kind == kindMapString {
					c.vals = appendString(c.vals, v.value(i, k))
				} else {
					c.vals = append(c.vals, v.extents[i].vals[k*8:k*8+8]...)
				}
				c.entries++
			}
		}
	}
	b.EndRow()
}
