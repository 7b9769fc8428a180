package testkit

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
)

// Row is a row of the table events as a test writes it. What is not set is
// empty; without a Timestamp it is that of the Unix epoch.
type Row struct {
	Source, Type, Event, EventID, UserID string
	Timestamp                            time.Time
	Properties                           map[string]string
}

// Block makes the block of a frame: rows 0, 1, ... of sequence seq of a shard,
// as the enricher writes them and ClickHouse takes them.
func Block(shard int, seq uint64, rows ...Row) *frame.Block {
	b := frame.NewBlock(frame.RowSchema)
	for i, r := range rows {
		texts := map[int]string{
			frame.ColSource: r.Source, frame.ColType: r.Type, frame.ColEvent: r.Event,
			frame.ColEventID: r.EventID, frame.ColUserID: r.UserID,
		}
		millis := int64(0)
		if !r.Timestamp.IsZero() {
			millis = r.Timestamp.UnixMilli()
		}
		for c, col := range frame.Columns {
			switch {
			case c == frame.ColShard:
				b.U16(c, uint16(shard))
			case c == frame.ColSeq:
				b.U64(c, seq)
			case c == frame.ColIdx:
				b.U32(c, uint32(i))
			case c == frame.ColProperties:
				for _, key := range slices.Sorted(maps.Keys(r.Properties)) {
					b.Entry(c, []byte(key), []byte(r.Properties[key]))
				}
			case col.Type == "String":
				b.Text(c, texts[c])
			case col.Type == "Bool":
				b.Bool(c, false)
			case col.Type == "Map(String, String)", col.Type == "Map(String, Float64)":
			default:
				b.Millis(c, millis)
			}
		}
		b.EndRow()
	}
	return b
}

// PublishEnriched appends a frame of rows to a shard of ENRICHED, as the
// enricher would, and returns its sequence. It is for tests of a worker that
// reads ENRICHED; there is no frame of RAW behind it, so do not let an indexer
// run on the same streams.
func (n *NATS) PublishEnriched(js jetstream.JetStream, shard int, rows ...Row) uint64 {
	n.t.Helper()
	ctx, names := n.t.Context(), bus.Names{Prefix: bus.DefaultPrefix}
	stream, err := js.Stream(ctx, names.StreamEnriched(shard))
	if err != nil {
		n.t.Fatalf("publish enriched: %v", err)
	}
	info, err := stream.Info(ctx)
	if err != nil {
		n.t.Fatalf("publish enriched: %v", err)
	}
	last := info.State.LastSeq
	msg := nats.NewMsg(names.Enriched(shard))
	msg.Header.Set(bus.HeaderCodec, strconv.Itoa(frame.Codec))
	msg.Header.Set(bus.HeaderVerdict, frame.Encode(&frame.Verdict{In: len(rows), Rows: len(rows)}))
	msg.Header.Set(bus.HeaderCheckpoint, frame.Encode(&frame.Checkpoint{Frame: nats.NewInbox(), Received: time.Now(), Window: last + 1, DeadOut: last + 1}))
	msg.Data = frame.Pack(nil, Block(shard, last+1, rows...).AppendNative(nil))
	if _, err := js.PublishMsg(ctx, msg, jetstream.WithExpectLastSequence(last)); err != nil {
		n.t.Fatalf("publish enriched: %v", err)
	}
	return last + 1
}
