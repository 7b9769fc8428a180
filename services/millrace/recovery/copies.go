package recovery

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
)

// drainDead brings what DEAD holds and ClickHouse lacks there. What is there
// keeps the time at which it was refused.
func (r *run) drainDead(ctx context.Context) error {
	have := map[int]map[letterPlace]string{}
	for id, held := range r.dead {
		first, last := ^uint64(0), uint64(0)
		for p := range held {
			first, last = min(first, p.seq), max(last, p.seq)
		}
		var err error
		if have[id], err = r.table.lettersOf(ctx, id, first, last); err != nil {
			return err
		}
	}
	var letters []bus.DeadLetter
	size := 0
	flush := func() error {
		err := r.table.bury(ctx, letters)
		letters, size = letters[:0], 0
		return err
	}
	for m, err := range each(ctx, r.js, r.names.StreamDead(), "", 1) {
		if err != nil {
			return err
		}
		d, err := bus.ParseDeadLetter(m.header, m.data)
		if err != nil {
			continue // it is none
		}
		if _, ok := have[d.Shard][letterPlace{d.Incarnation, d.Seq, uint32(d.Idx)}]; ok {
			continue
		}
		letters, size = append(letters, d), size+len(d.Original)
		if len(letters) == lettersOfBatch || size >= bytesOfBatch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// clearCopies makes the stream of copies and forgets those of a run that was
// ended before it had decided.
func (r *run) clearCopies(ctx context.Context) error {
	if err := r.cfg.fault("copies"); err != nil {
		return err
	}
	s, err := r.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: r.names.StreamRecovery(), Subjects: []string{r.names.RecoveryAll()}, Storage: jetstream.FileStorage,
		Description: "what `millrace recover` has decided, and what it moves while it moves it", Replicas: max(r.planOf(r.inst).Replicas, 1), // as what it stands for
		Discard: jetstream.DiscardNew,
	})
	if err != nil {
		return fmt.Errorf("create stream %s: %w", r.names.StreamRecovery(), err)
	}
	return r.forgetCopies(ctx, s, r.inst.Shards)
}

func (r *run) forgetCopies(ctx context.Context, s jetstream.Stream, shards int) error {
	for id := range shards {
		for _, subject := range []string{r.names.RecoveryIDs(id), r.names.RecoveryEvents(id)} {
			if err := s.Purge(ctx, jetstream.WithPurgeSubject(subject)); err != nil {
				return fmt.Errorf("purge %s: %w", subject, err)
			}
		}
	}
	return nil
}

// do carries out what comes of a window of frames.
func (r *run) do(ctx context.Context, s *shard, o *outcome, d *decidedShard, copies bool) error {
	if err := r.cfg.fault("window"); err != nil {
		return err
	}
	err := r.table.insert(ctx, r.inst.Incarnation, s.id, o.absent, o.from, o.to)
	if errors.Is(err, ErrRefused) && copies {
		err = r.frameByFrame(ctx, s, o)
	}
	if err != nil {
		return err
	}
	if err := r.table.insert(ctx, r.inst.Incarnation, s.id, o.moved, s.rep.Highest+1, s.free); err != nil {
		return err
	}
	if err := r.table.bury(ctx, o.letters); err != nil {
		return err
	}
	if err := r.cfg.fault("copy"); err != nil || !copies {
		return err
	}
	for _, f := range o.again {
		if err := r.copy(ctx, r.names.RecoveryEvents(s.id), f); err != nil {
			return err
		}
		d.Events++
		d.bytes += f.size()
	}
	return nil
}

// frameByFrame inserts a window after ClickHouse has refused a row of it. What
// it refuses of frames that were not proven goes through RAW once more: the
// indexer finds the row, which becomes a dead letter.
func (r *run) frameByFrame(ctx context.Context, s *shard, o *outcome) error {
	rows, raw := frame.NewView(frame.RowSchema), frame.NewView(frame.RawSchema)
	if err := rows.Parse(o.absent.AppendNative(nil)); err != nil {
		return err
	}
	for i := 0; i < rows.Rows(); {
		seq, one := rows.U64(frame.ColSeq, i), frame.NewBlock(frame.RowSchema)
		var places []int
		for ; i < rows.Rows() && rows.U64(frame.ColSeq, i) == seq; i++ {
			one.AppendRow(rows, i)
			places = append(places, int(rows.U32(frame.ColIdx, i)))
		}
		err := r.table.insert(ctx, r.inst.Incarnation, s.id, one, seq, seq)
		question := o.raw[seq]
		if err == nil {
			continue
		}
		if !errors.Is(err, ErrRefused) || question == nil {
			return err
		}
		native, err2 := frame.Unpack(nil, question.data)
		if err2 == nil {
			err2 = raw.Parse(native)
		}
		if err2 != nil {
			return errors.Join(err, err2)
		}
		left := frame.NewBlock(frame.RawSchema)
		for _, idx := range places {
			if idx >= raw.Rows() {
				return err
			}
			left.AppendRow(raw, idx)
		}
		o.again = append(o.again, againFrame{question.header.Get(bus.HeaderCodec), left.Rows(), frame.Pack(nil, left.AppendNative(nil))})
		s.rep.Insert -= uint64(len(places))
		s.rep.Again += uint64(len(places))
		s.rep.AgainFrames++
	}
	return nil
}

// copy keeps a frame as RAW is to have it.
func (r *run) copy(ctx context.Context, subject string, f againFrame) error {
	msg := &nats.Msg{Subject: subject, Data: f.body, Header: nats.Header{
		bus.HeaderCodec: {f.codec}, bus.HeaderEvents: {strconv.Itoa(f.events)}, bus.HeaderFrame: {rand.Text()},
	}}
	if _, err := r.js.PublishMsg(ctx, msg); err != nil {
		return fmt.Errorf("copy a frame to %s: see that NATS answers and has room, then run this again: %w", r.names.StreamRecovery(), err)
	}
	return nil
}

// size is about what the frame takes in a stream.
func (f *againFrame) size() int64 { return int64(len(f.body)) + envelope }

// envelope is more than the subject, the headers and the record's own bytes.
const envelope = 512

// makeRoom makes sure, while there is nothing that cannot be undone, that RAW
// can take what is to be appended: the events, and of the ids the newest that
// fit into a quarter of it.
func (r *run) makeRoom(ctx context.Context, d *decision) error {
	size := r.planOf(r.inst).Sizes.Raw
	for i := range d.Shards {
		size = max(size, 2*d.Shards[i].bytes)
	}
	copies, err := r.js.Stream(ctx, r.names.StreamRecovery())
	if err != nil {
		return fmt.Errorf("look up %s: %w", r.names.StreamRecovery(), err)
	}
	for i := range d.Shards {
		s := &d.Shards[i]
		fit, sum := 0, int64(0)
		for fit < len(s.ids) && sum+s.ids[len(s.ids)-1-fit] <= size/4 {
			sum += s.ids[len(s.ids)-1-fit]
			fit++
		}
		if fit == len(s.ids) {
			continue
		}
		subject := r.names.RecoveryIDs(i)
		if fit == 0 { // keep 0 would mean no limit
			err = copies.Purge(ctx, jetstream.WithPurgeSubject(subject))
		} else {
			err = copies.Purge(ctx, jetstream.WithPurgeSubject(subject), jetstream.WithPurgeKeep(uint64(fit)))
		}
		if err != nil {
			return fmt.Errorf("purge %s: %w", subject, err)
		}
		r.cfg.Log.Warn("ids of older events do not fit into RAW: repeats of those become new events", "shard", i, "frames", len(s.ids)-fit, "of", len(s.ids))
		s.IDs = uint64(fit)
	}
	for id := range d.Shards {
		i := r.streams[r.names.StreamRaw(id)]
		if i == nil || i.Config.MaxBytes <= 0 || i.Config.MaxBytes >= size {
			continue
		}
		cfg := i.Config
		cfg.MaxBytes = size
		if _, err := r.js.UpdateStream(ctx, cfg); err != nil {
			return fmt.Errorf("%w: %s needs %d bytes: %w", ErrRoom, cfg.Name, size, err)
		}
	}
	d.RawSize = size
	return nil
}
