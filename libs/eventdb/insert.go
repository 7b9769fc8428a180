package eventdb

import (
	"strings"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/millrace/millrace/libs/event/frame"
)

// Table is the table of events in the connection's database.
const Table = "events"

// InsertEvents is the statement that takes blocks of frame.Columns.
func InsertEvents() string { return InsertInto(Table) }

// InsertInto is InsertEvents for another table of the same columns.
func InsertInto(table string) string {
	names := make([]string, len(frame.Columns))
	for i, c := range frame.Columns {
		names[i] = c.Name
	}
	return "INSERT INTO " + table + " (" + strings.Join(names, ", ") + ") VALUES"
}

// Input hands the columns of a block to ch-go without copying or decoding them: the bytes of a frame's column are
// the bytes of the native protocol. The block must not change until the insert has returned. The server converts
// String to LowCardinality(String), alone and as the key of a Map.
func Input(b *frame.Block) proto.Input {
	in := make(proto.Input, len(frame.Columns))
	for i := range frame.Columns {
		column, pieces := b.Column(i)
		in[i] = proto.InputColumn{Name: column.Name, Data: rawColumn{column.Type, b.Rows(), pieces}}
	}
	return in
}

// rawColumn is a column that is encoded already.
type rawColumn struct {
	wireType string
	rows     int
	pieces   [3][]byte
}

var _ proto.ColInput = rawColumn{}

// Type is what the column's header says.
func (c rawColumn) Type() proto.ColumnType { return proto.ColumnType(c.wireType) }

// Rows is the number of rows.
func (c rawColumn) Rows() int { return c.rows }

// EncodeColumn copies the bytes; ch-go takes this way when it compresses.
func (c rawColumn) EncodeColumn(b *proto.Buffer) {
	for _, p := range c.pieces {
		b.Buf = append(b.Buf, p...)
	}
}

// WriteColumn sends the bytes from where they lie.
func (c rawColumn) WriteColumn(w *proto.Writer) {
	for _, p := range c.pieces {
		if len(p) > 0 {
			w.ChainWrite(p)
		}
	}
}
