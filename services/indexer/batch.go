package indexer

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
)

var (
	// ErrNewerCodec says that a frame was written by a newer Millrace. The
	// shard waits for this process to be upgraded; nothing is refused.
	ErrNewerCodec = errors.New("indexer: a frame has a newer codec: upgrade this indexer")
	// ErrGap says that ENRICHED does not hold the frame that comes next.
	ErrGap = errors.New("indexer: ENRICHED has a gap")
)

// batch is the block that is being collected: consecutive frames of a shard.
// The reader owns it until it is handed to the committer, who gives it back.
type batch struct {
	first, last uint64
	frames      int
	totals      bus.Totals
	rows        *frame.Block
	checkpoint  frame.Checkpoint // of the last frame
	started     time.Time        // when the first frame was read
}

func newBatch() *batch { return &batch{rows: frame.NewBlock(frame.RowSchema)} }

func (b *batch) reset() {
	rows := b.rows
	rows.Reset()
	*b = batch{rows: rows}
}

// decoder turns ENRICHED messages into rows of a batch. One goroutine uses it.
type decoder struct {
	joiner *frame.Joiner
	native []byte
}

func newDecoder() *decoder { return &decoder{joiner: frame.NewJoiner(frame.RowSchema)} }

// add appends the frame with the sequence seq to the batch.
func (d *decoder) add(b *batch, seq uint64, header nats.Header, body []byte) error {
	if b.frames > 0 && seq != b.last+1 {
		return fmt.Errorf("%w: frame %d after %d", ErrGap, seq, b.last)
	}
	if err := checkCodec(header); err != nil {
		return err
	}
	var verdict frame.Verdict
	if err := frame.Decode(header.Get(bus.HeaderVerdict), &verdict); err != nil {
		return fmt.Errorf("frame %d: %w", seq, err)
	}
	var checkpoint frame.Checkpoint
	if err := frame.Decode(header.Get(bus.HeaderCheckpoint), &checkpoint); err != nil {
		return fmt.Errorf("frame %d: %w", seq, err)
	}
	if dead := verdict.Dead(); verdict.In != verdict.Rows+verdict.Repeats+dead {
		return fmt.Errorf("frame %d: %w: its verdict counts %d events, but %d rows, %d repeats and %d refused", seq, frame.ErrDamaged, verdict.In, verdict.Rows, verdict.Repeats, dead)
	}
	if verdict.Rows > 0 {
		native, err := frame.Unpack(d.native, body)
		if err != nil {
			return fmt.Errorf("frame %d: %w", seq, err)
		}
		d.native = native[:0]
		rows, err := d.joiner.Append(b.rows, native)
		if err != nil {
			return fmt.Errorf("frame %d: %w", seq, err)
		}
		if rows != verdict.Rows {
			return fmt.Errorf("frame %d: %w: %d rows, its verdict says %d", seq, frame.ErrDamaged, rows, verdict.Rows)
		}
	}
	if b.frames == 0 {
		b.first, b.started = seq, time.Now()
	}
	b.last, b.checkpoint = seq, checkpoint
	b.frames++
	b.totals = b.totals.Plus(bus.Totals{
		In: uint64(verdict.In), Rows: uint64(verdict.Rows), Dead: uint64(verdict.Dead()), Repeats: uint64(verdict.Repeats),
	})
	return nil
}

func checkCodec(header nats.Header) error {
	var codec int
	if _, err := fmt.Sscanf(header.Get(bus.HeaderCodec), "%d", &codec); err != nil {
		return fmt.Errorf("%w: header %s is %q", frame.ErrDamaged, bus.HeaderCodec, header.Get(bus.HeaderCodec))
	}
	if codec > frame.Codec {
		return fmt.Errorf("%w: codec %d, this build reads up to %d", ErrNewerCodec, codec, frame.Codec)
	}
	return nil
}
