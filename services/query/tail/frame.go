package tail

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
)

// Frame is one frame of ENRICHED. It does not change and may be read by any number of goroutines.
type Frame struct {
	Place  bus.Place
	Stored time.Time // by JetStream's clock

	packed []byte
	view   atomic.Pointer[frame.View] // nil when it has to be unpacked again
	rows   int
	keys   []uint64 // of the index
	cost   int64    // bytes without the view
	opened int64    // bytes of the view
}

// Row is one row of a frame: the row with index Row of View. Its slices are parts of the frame and must not be changed.
type Row struct {
	Place bus.Place
	View  *frame.View
	Row   int
}

// Idx is the row's place in its frame.
func (r Row) Idx() uint32 { return r.View.U32(frame.ColIdx, r.Row) }

// Text is a String column of the row.
func (r Row) Text(column int) string { return string(r.View.Str(column, r.Row)) }

// newFrame reads a message.
func newFrame(p bus.Place, header nats.Header, data []byte, at time.Time) (*Frame, error) {
	codec, err := strconv.Atoi(header.Get(bus.HeaderCodec))
	switch {
	case err != nil:
		return nil, fmt.Errorf("frame %d:%d: %w: codec %q", p.Shard, p.Seq, frame.ErrDamaged, header.Get(bus.HeaderCodec))
	case codec > frame.Codec:
		return nil, fmt.Errorf("frame %d:%d: %w: codec %d, known is %d; upgrade this service", p.Shard, p.Seq, ErrCodec, codec, frame.Codec)
	}
	f := &Frame{Place: p, Stored: at, packed: data}
	v, opened, err := unpack(data)
	if err != nil {
		return nil, fmt.Errorf("frame %d:%d: %w", p.Shard, p.Seq, err)
	}
	f.view.Store(v)
	f.rows, f.opened = v.Rows(), opened
	f.cost = frameOverhead + int64(len(data)) + int64(f.rows)*indexOverhead
	return f, nil
}

// What a frame costs beside its bytes, and a row in the index, about.
const (
	frameOverhead = 512
	indexOverhead = 96
	// spanOverhead is what the view of a row takes beside the bytes.
	spanOverhead = 640
)

// View is the frame's rows. A frame that has been here for long is unpacked once more.
func (f *Frame) View() (*frame.View, error) {
	if v := f.view.Load(); v != nil {
		return v, nil
	}
	v, _, err := unpack(f.packed)
	return v, err
}

// unpack reads a body; a frame without rows may have none.
func unpack(data []byte) (*frame.View, int64, error) {
	if len(data) == 0 {
		return frame.NewView(frame.RowSchema), 0, nil
	}
	native, err := frame.Unpack(nil, data)
	if err != nil {
		return nil, 0, err
	}
	v := frame.NewView(frame.RowSchema)
	if err := v.Parse(native); err != nil {
		return nil, 0, err
	}
	return v, int64(len(native)) + int64(v.Rows())*spanOverhead, nil
}

// Rows is the number of rows.
func (f *Frame) Rows() int { return f.rows }
