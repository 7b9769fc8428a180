package recovery

import (
	"context"
	"strconv"
	"time"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event"
	"github.com/millrace/millrace/libs/event/frame"
)

// doorRecovery stands where a RAW frame names the door of an event, in rows
// that only bring an id.
const doorRecovery = "recovery"

// Frames of ids.
const (
	idsOfFrame   = 2000
	bytesOfFrame = 256 << 10
)

// copyIDs makes the frames from which the enricher builds up what it knows: the
// ids of the last rows and of the last dead letters, and of events that wait in
// IN and have a row.
func (r *run) copyIDs(ctx context.Context, d *decision) error {
	blocks := make([]*frame.Block, r.inst.Shards)
	flush := func(id int) error {
		b := blocks[id]
		if b.Rows() == 0 {
			return nil
		}
		d.Shards[id].IDs++
		f := againFrame{strconv.Itoa(frame.Codec), 0, frame.Pack(nil, b.AppendNative(nil))}
		d.Shards[id].ids = append(d.Shards[id].ids, f.size())
		b.Reset()
		return r.copy(ctx, r.names.RecoveryIDs(id), f)
	}
	add := func(id int, k key) error {
		b := blocks[id]
		b.Text(frame.RawSource, k.source)
		b.Text(frame.RawDoor, doorRecovery)
		b.Text(frame.RawIP, "")
		b.Text(frame.RawUserAgent, "")
		b.Millis(frame.RawSentAt, 0)
		b.U64(frame.RawInSeq, 0)
		b.Text(frame.RawEventID, k.id)
		b.Text(frame.RawReason, "known") // so that nobody looks for an event in it
		b.Text(frame.RawDetail, "")
		b.Text(frame.RawBody, "")
		b.EndRow()
		if b.Rows() == idsOfFrame || b.Size() > bytesOfFrame {
			return flush(id)
		}
		return nil
	}
	reader := event.NewReader(event.DefaultLimits())
	for id := range blocks {
		since, err := r.table.windowOf(ctx, id, r.cfg.Window)
		if err != nil {
			return err
		}
		blocks[id] = frame.NewBlock(frame.RawSchema)
		if err := r.table.idsSince(ctx, id, since, func(k key) error { return add(id, k) }); err != nil {
			return err
		}
		err = r.table.lettersSince(ctx, id, since, func(source string, original []byte) error {
			if k := letterKey(reader, source, original); k.id != "" {
				return add(id, k)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if err := r.waitingIn(ctx, d.To, add); err != nil {
		return err
	}
	for id := range blocks {
		if err := flush(id); err != nil {
			return err
		}
	}
	return nil
}

// letterKey is what the enricher knows a refused event by: a repeat is a repeat
// even if ClickHouse refused its row. It has no id if the sender gave none, or
// if it cannot be read; then the door cannot tell a repeat either.
func letterKey(reader *event.Reader, source string, original []byte) key {
	k := key{source: source}
	_, _ = reader.Read(original, false, func(_ int, _ []byte, e *event.Event, refusal *event.Refusal) error {
		if refusal == nil {
			k.id = string(e.MessageID)
		}
		return nil
	}) // what cannot be read has no id
	return k
}

// waitingIn hands out the keys of events that wait in IN although they have a
// row: an older IN was restored, or an acknowledgement was lost long ago.
func (r *run) waitingIn(ctx context.Context, to bus.Installation, add func(int, key) error) error {
	reader, unzip := event.NewReader(event.DefaultLimits()), event.NewDecompressor(event.DefaultLimits())
	shards := map[key]int{}
	flush := func() error {
		var keys []key
		for k := range shards {
			keys = append(keys, k)
		}
		known, err := r.table.known(ctx, keys)
		if err != nil {
			return err
		}
		for k := range known {
			if id, ok := shards[k]; ok {
				if err := add(id, k); err != nil {
					return err
				}
			}
		}
		clear(shards)
		return nil
	}
	for m, err := range each(ctx, r.js, r.names.StreamIn(), "", r.in.Acknowledged+1) {
		if err != nil {
			return err
		}
		source := r.names.SourceOf(m.subject)
		eachEvent(reader, unzip, m, func(index int, e *event.Event) {
			k := key{source, string(e.MessageID)}
			if k.id == "" {
				k.id = event.DerivedID(to.InLife(m.seq), m.seq, index)
			}
			shards[k] = event.ShardOf(source, e.User(), r.inst.Shards)
		})
		if len(shards) >= idsAtOnce {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// lifeEnds is the last message of IN that keeps its life: where IN ends, or
// before the first one that waits under a number that was given before. Such a
// one has a row that is older than the message: NATS went back, and publishers
// went on. With its old life its events would get the ids of others, and be
// dropped as repeats.
func (r *run) lifeEnds(ctx context.Context) (uint64, error) {
	type waiting struct {
		seq uint64
		at  time.Time
	}
	reader, unzip := event.NewReader(event.DefaultLimits()), event.NewDecompressor(event.DefaultLimits())
	derived := map[key]waiting{}
	first := uint64(0)
	flush := func() error {
		var keys []key
		for k := range derived {
			keys = append(keys, k)
		}
		known, err := r.table.known(ctx, keys)
		if err != nil {
			return err
		}
		for k, received := range known {
			w, ok := derived[k]
			if ok && received.Add(clockStep).Before(w.at) && (first == 0 || w.seq < first) {
				first = w.seq
			}
		}
		clear(derived)
		return nil
	}
	for m, err := range each(ctx, r.js, r.names.StreamIn(), "", r.in.Acknowledged+1) {
		if err != nil {
			return 0, err
		}
		source := r.names.SourceOf(m.subject)
		eachEvent(reader, unzip, m, func(index int, e *event.Event) {
			if len(e.MessageID) == 0 {
				derived[key{source, event.DerivedID(r.inst.InLife(m.seq), m.seq, index)}] = waiting{m.seq, m.at}
			}
		})
		if len(derived) < idsAtOnce {
			continue
		}
		if err := flush(); err != nil {
			return 0, err
		}
		if first > 0 {
			break
		}
	}
	if err := flush(); err != nil {
		return 0, err
	}
	if first > 0 {
		return first - 1, nil
	}
	return r.in.Last, nil
}

// clockStep is how far NATS's clock may be set back between a message's arrival
// in IN and that of its events in RAW.
const clockStep = 100 * time.Millisecond
