package testkit

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/eventdb"
	"github.com/millrace/millrace/libs/localdb"
)

// Row is a row of the table events as a test writes it. What is not set is
// empty; without a Timestamp it is that of the Unix epoch.
type Row struct {
	Source, Type, Event, EventID, UserID     string
	AnonymousID, PreviousID, SessionID, Path string
	Timestamp                                time.Time
	Properties, Traits, Extra                map[string]string
	PropertiesNum, TraitsNum                 map[string]float64
}

// Block makes the block of a frame: rows 0, 1, ... of sequence seq of a shard,
// as the enricher writes them and ClickHouse takes them.
func Block(shard int, seq uint64, rows ...Row) *frame.Block {
	b := frame.NewBlock(frame.RowSchema)
	for i, r := range rows {
		texts := map[int]string{
			frame.ColSource: r.Source, frame.ColType: r.Type, frame.ColEvent: r.Event,
			frame.ColEventID: r.EventID, frame.ColUserID: r.UserID, frame.ColAnonymousID: r.AnonymousID,
			frame.ColPreviousID: r.PreviousID, frame.ColSessionID: r.SessionID, frame.ColPath: r.Path,
		}
		fields := map[int]map[string]string{frame.ColProperties: r.Properties, frame.ColTraits: r.Traits, frame.ColExtra: r.Extra}
		numbers := map[int]map[string]float64{frame.ColPropertiesNum: r.PropertiesNum, frame.ColTraitsNum: r.TraitsNum}
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
			case col.Type == "String":
				b.Text(c, texts[c])
			case col.Type == "Bool":
				b.Bool(c, false)
			case col.Type == "Map(String, String)":
				for _, key := range slices.Sorted(maps.Keys(fields[c])) {
					b.Entry(c, []byte(key), []byte(fields[c][key]))
				}
			case col.Type == "Map(String, Float64)":
				for _, key := range slices.Sorted(maps.Keys(numbers[c])) {
					b.FloatEntry(c, []byte(key), numbers[c][key])
				}
			default:
				b.Millis(c, millis)
			}
		}
		b.EndRow()
	}
	return b
}

// InsertEvents inserts a block of rows as the writer, without a ledger.
func (c *ClickHouse) InsertEvents(b *frame.Block) {
	c.t.Helper()
	client, err := eventdb.Dial(c.t.Context(), c.Config(localdb.WriterUser))
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = client.Close() }() // the rows are in, or it failed
	if err := client.Do(c.t.Context(), ch.Query{Body: eventdb.InsertEvents(), Input: eventdb.Input(b)}); err != nil {
		c.t.Fatalf("insert events: %v", err)
	}
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
