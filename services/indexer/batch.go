package indexer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/failpoint"
)

var (
	// ErrNewerCodec says that a frame was written by a newer Millrace. The
	// shard waits for this process to be upgraded; nothing is refused.
	ErrNewerCodec = errors.New("indexer: a frame has a newer codec: upgrade this indexer")
	// ErrGap says that ENRICHED does not hold the frame that comes next.
	ErrGap = errors.New("indexer: ENRICHED has a gap")
)

// arrival is one frame as it came, its headers read and its body still packed.
type arrival struct {
	lane       int // the shard's place among those of the sink
	life       int // of the shard's reading; see shard.rewind
	seq        uint64
	totals     bus.Totals
	checkpoint frame.Checkpoint
	size       int // bytes of its columns, unpacked
	body       []byte
}

// emptyNative is what a frame's Native block takes without any row: names and
// types, which the joined block has once.
var emptyNative = len(frame.NewBlock(frame.RowSchema).AppendNative(nil))

// inspect reads all that can be read of a frame without unpacking it.
func inspect(seq uint64, header nats.Header, body []byte) (arrival, error) {
	a := arrival{seq: seq, body: body}
	if err := checkCodec(header); err != nil {
		return a, fmt.Errorf("frame %d: %w", seq, err)
	}
	var verdict frame.Verdict
	if err := frame.Decode(header.Get(bus.HeaderVerdict), &verdict); err != nil {
		return a, fmt.Errorf("frame %d: %w", seq, err)
	}
	if err := frame.Decode(header.Get(bus.HeaderCheckpoint), &a.checkpoint); err != nil {
		return a, fmt.Errorf("frame %d: %w", seq, err)
	}
	dead := verdict.Dead()
	if verdict.In != verdict.Rows+verdict.Repeats+dead || min(verdict.Rows, verdict.Repeats, dead) < 0 {
		return a, fmt.Errorf("frame %d: %w: its verdict counts %d events, but %d rows, %d repeats and %d refused", seq, frame.ErrDamaged, verdict.In, verdict.Rows, verdict.Repeats, dead)
	}
	if verdict.Rows > 0 {
		n, err := frame.UnpackedLen(body)
		if err != nil {
			return a, fmt.Errorf("frame %d: %w", seq, err)
		}
		a.size = max(0, n-emptyNative)
	}
	a.totals = bus.Totals{In: uint64(verdict.In), Rows: uint64(verdict.Rows), Dead: uint64(dead), Repeats: uint64(verdict.Repeats)}
	return a, nil
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

// batch is the block that is being collected: consecutive frames of each of a
// sink's shards, packed as they came, which takes a fifth of the memory of
// their columns. The collector owns it until it is handed to the committer,
// who gives it back.
type batch struct {
	parts   []part // one a shard of the sink, by lane
	frames  int
	rows    int
	bytes   int    // of the columns, unpacked
	packed  []byte // the bodies of all frames
	started time.Time
}

// part is the frames of one shard.
type part struct {
	shard       int
	life        int
	first, last uint64
	totals      bus.Totals
	checkpoint  frame.Checkpoint // of the last frame
	bytes       int
	frames      []held
}

// held is one packed frame.
type held struct {
	seq      uint64
	rows     int
	from, to int // in batch.packed
}

func newBatch(shards []int) *batch {
	b := &batch{parts: make([]part, len(shards))}
	for lane, shard := range shards {
		b.parts[lane].shard = shard
	}
	return b
}

// reset empties the batch and keeps its memory.
func (b *batch) reset() {
	for lane := range b.parts {
		b.drop(lane)
	}
	*b = batch{parts: b.parts, packed: b.packed[:0]}
}

// drop takes the frames of one shard out again.
func (b *batch) drop(lane int) {
	p := &b.parts[lane]
	b.frames -= len(p.frames)
	b.rows -= int(p.totals.Rows)
	b.bytes -= p.bytes
	*p = part{shard: p.shard, frames: p.frames[:0]}
}

// add appends a frame. One of a newer life replaces what there is of the
// shard: those frames are being read again.
func (b *batch) add(a *arrival) error {
	p := &b.parts[a.lane]
	if len(p.frames) > 0 && p.life != a.life {
		b.drop(a.lane)
	}
	if len(p.frames) > 0 && a.seq != p.last+1 {
		return fmt.Errorf("%w: shard %d: frame %d after %d", ErrGap, p.shard, a.seq, p.last)
	}
	if b.frames == 0 {
		b.started = failpoint.Now()
	}
	if len(p.frames) == 0 {
		p.first, p.life = a.seq, a.life
	}
	from := len(b.packed)
	if a.totals.Rows > 0 {
		b.packed = append(b.packed, a.body...)
	}
	p.frames = append(p.frames, held{seq: a.seq, rows: int(a.totals.Rows), from: from, to: len(b.packed)})
	p.last, p.checkpoint = a.seq, a.checkpoint
	p.totals = p.totals.Plus(a.totals)
	p.bytes += a.size
	b.frames++
	b.rows += int(a.totals.Rows)
	b.bytes += a.size
	return nil
}

// intent names what the batch holds, in the order of the shards.
func (b *batch) intent() *bus.Intent {
	in := &bus.Intent{}
	for lane := range b.parts {
		if p := &b.parts[lane]; len(p.frames) > 0 {
			in.Ranges = append(in.Ranges, bus.Range{Shard: p.shard, First: p.first, Last: p.last, Totals: p.totals})
		}
	}
	return in
}

// joiner unpacks the frames of a batch into one block. One goroutine uses it.
type joiner struct {
	joiner *frame.Joiner
	native []byte
	rows   *frame.Block
}

func newJoiner() *joiner {
	return &joiner{joiner: frame.NewJoiner(frame.RowSchema), rows: frame.NewBlock(frame.RowSchema)}
}

// damaged is a frame that cannot be joined.
type damaged struct {
	lane int
	seq  uint64
	err  error
}

func (d *damaged) Error() string { return fmt.Sprintf("frame %d: %v", d.seq, d.err) }
func (d *damaged) Unwrap() error { return d.err }

// join returns the rows of the batch, shard by shard, so that the same frames
// always make the same block. It is good until the next join. A frame that
// does not hold what its verdict says is a *damaged error.
func (j *joiner) join(b *batch) (*frame.Block, error) {
	j.rows.Reset()
	for lane := range b.parts {
		for _, h := range b.parts[lane].frames {
			if h.rows == 0 {
				continue
			}
			if err := j.append(b.packed[h.from:h.to], b.parts[lane].shard, h); err != nil {
				return nil, &damaged{lane: lane, seq: h.seq, err: err}
			}
		}
	}
	return j.rows, nil
}

func (j *joiner) append(body []byte, shard int, h held) error {
	native, err := frame.Unpack(j.native, body)
	if err != nil {
		return err
	}
	j.native = native[:0]
	rows, err := j.joiner.Append(j.rows, native)
	if err != nil {
		return err
	}
	if rows != h.rows {
		return fmt.Errorf("%w: %d rows, its verdict says %d", frame.ErrDamaged, rows, h.rows)
	}
	return j.inPlace(rows, uint16(shard), h.seq)
}

// inPlace checks that the rows joined last say where they are from: what is
// proven is counted by that, and rows of another place would never be found.
func (j *joiner) inPlace(rows int, shard uint16, seq uint64) error {
	_, shards := j.rows.Column(frame.ColShard)
	_, seqs := j.rows.Column(frame.ColSeq)
	shardOf, seqOf := shards[0][len(shards[0])-2*rows:], seqs[0][len(seqs[0])-8*rows:]
	for i := range rows {
		if s, n := binary.LittleEndian.Uint16(shardOf[2*i:]), binary.LittleEndian.Uint64(seqOf[8*i:]); s != shard || n != seq {
			return fmt.Errorf("%w: row %d says that it is of shard %d, frame %d", frame.ErrDamaged, i, s, n)
		}
	}
	return nil
}
