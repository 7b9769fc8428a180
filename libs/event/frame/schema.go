package frame

import (
	"encoding/binary"
	"fmt"
	"strings"
)

type kind uint8

const (
	kindFixed     kind = iota
	kindString         // uvarint length, bytes
	kindMapString      // cumulative UInt64 offsets, string keys, string values
	kindMapFixed       // cumulative UInt64 offsets, string keys, 8-byte values
)

type colSpec struct {
	kind   kind
	width  int    // bytes of a value, for kindFixed and the values of kindMapFixed
	header []byte // name and type as Native writes them
}

// Schema is an ordered list of columns, prepared for encoding and decoding.
type Schema struct {
	Columns []Column
	specs   []colSpec
	maps    []int // the columns that are maps: each row ends them
}

// NewSchema prepares columns. It panics on a type that frames do not carry,
// since schemas are written in code.
func NewSchema(columns []Column) *Schema {
	s := &Schema{Columns: columns}
	for i, c := range columns {
		spec := colSpec{}
		switch {
		case c.Type == typeString:
			spec.kind = kindString
		case c.Type == typeMapString:
			spec.kind = kindMapString
		case c.Type == typeMapFloat:
			spec.kind, spec.width = kindMapFixed, 8
		case c.Type == "UInt16":
			spec.width = 2
		case c.Type == "UInt32":
			spec.width = 4
		case c.Type == "UInt64", strings.HasPrefix(c.Type, "DateTime64("):
			spec.width = 8
		case c.Type == "Bool":
			spec.width = 1
		default:
			panic(fmt.Sprintf("frame: column %s has type %s, which no frame carries", c.Name, c.Type))
		}
		for _, text := range []string{c.Name, c.Type} {
			spec.header = binary.AppendUvarint(spec.header, uint64(len(text)))
			spec.header = append(spec.header, text...)
		}
		s.specs = append(s.specs, spec)
		if spec.kind == kindMapString || spec.kind == kindMapFixed {
			s.maps = append(s.maps, i)
		}
	}
	return s
}
