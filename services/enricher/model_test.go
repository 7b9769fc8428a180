package enricher

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/testkit/explore"
)

// The model runs whole ownerships of a shard (shard.once with all that it
// starts) against a simulated JetStream, in simulated time. Everything that an
// owner asks of the server, and every message that is on its way, waits until
// the world lets it go on; what that may do is below. docs/decisions/
// 0006-model.md says what is inside the model and what is not.

const (
	// fault is a crash, a stop, a request or a reply that is lost, a publish that
	// arrives late, a stream that is full.
	fault explore.Kind = iota
	// turn is a step that is not the next of who is at work: another owner goes
	// on, or another message comes first.
	turn
)

var errAway = nats.ErrTimeout

// errFull is what JetStream says when a stream has no room.
var errFull = &jetstream.APIError{Code: 503, ErrorCode: 10077, Description: "maximum bytes exceeded"}

// stored is a message of ENRICHED.
type stored struct {
	msg        *nats.Msg
	owner      int
	verdict    frame.Verdict
	checkpoint frame.Checkpoint
	state      uint64
}

// world is the server, and who is connected to it.
type world struct {
	*explore.Story
	in *scenario

	enriched []stored
	letters  map[string]bus.DeadLetter // by identity
	deadOut  []byte                    // in the bucket
	crashes  []byte                    // in the bucket

	mu      sync.Mutex // guards the calls of owners
	owners  []*owner
	current *owner // who is at work
	late    []*parcel
	began   time.Time
	broken  error
}

func (w *world) breaks(format string, args ...any) {
	if w.broken == nil {
		w.broken = fmt.Errorf(format, args...)
	}
}

// state stands for all that the rest of the story depends on.
func (w *world) state() uint64 {
	h := explore.Mix(1, uint64(time.Since(w.began)), uint64(len(w.owners)), uint64(slices.Index(w.owners, w.current)))
	for i := range w.enriched {
		h = explore.Mix(h, w.enriched[i].state)
	}
	sum := uint64(0)
	for identity := range w.letters {
		sum += explore.MixText(3, identity)
	}
	h = explore.MixText(explore.MixText(explore.Mix(h, sum), w.deadOut), w.crashes)
	for _, p := range w.late {
		h = explore.Mix(h, p.state)
	}
	for _, o := range w.owners {
		if o.ended {
			continue
		}
		h = explore.Mix(h, o.seen)
		for _, p := range o.wire {
			h = explore.Mix(h, p.state)
		}
		for _, p := range o.replies {
			h = explore.Mix(h, p.state)
		}
	}
	return h
}

// store is the server's part of a publish.
func (w *world) store(o *owner, msg *nats.Msg) error {
	if msg.Subject != modelNames.Enriched(0) {
		return w.storeLetter(msg)
	}
	expect, err := strconv.Atoi(msg.Header.Get(jetstream.ExpectedLastSeqHeader))
	if err != nil {
		return err
	}
	if expect != len(w.enriched) && !w.in.variant.unfenced {
		return &jetstream.APIError{Code: 400, ErrorCode: 10071, Description: "wrong last sequence"}
	}
	s := stored{msg: msg, owner: o.n}
	if err := errors.Join(frame.Decode(msg.Header.Get(bus.HeaderVerdict), &s.verdict), frame.Decode(msg.Header.Get(bus.HeaderCheckpoint), &s.checkpoint)); err != nil {
		return err
	}
	same := s.checkpoint
	same.Writer = strconv.Itoa(o.n) // it is random
	s.state = explore.MixText(explore.MixText(5, msg.Header.Get(bus.HeaderVerdict)), frame.Encode(&same))
	w.enriched = append(w.enriched, s)
	w.answers(o, len(w.enriched), &s)
	return nil
}

// answers checks that ENRICHED[n] answers RAW[n], and that what it says of dead
// letters is true by now.
func (w *world) answers(o *owner, n int, s *stored) {
	if n > len(w.in.raw) {
		w.breaks("ENRICHED has frame %d, RAW ends at %d", n, len(w.in.raw))
		return
	}
	want := w.in.oracle(o.strict)[n-1]
	if got := s.msg.Header.Get(bus.HeaderVerdict); got != want.verdict || !bytes.Equal(s.msg.Data, want.body) {
		w.breaks("ENRICHED %d does not answer RAW %d: its verdict is %s, want %s", n, n, got, want.verdict)
	}
	if raw := w.in.raw[n-1]; raw != nil && s.checkpoint.Frame != raw.Headers().Get(bus.HeaderFrame) {
		w.breaks("ENRICHED %d answers frame %q", n, s.checkpoint.Frame)
	}
	w.isOut(s.checkpoint.DeadOut)
}

// isOut checks that the dead letters of all frames up to seq are in DEAD.
func (w *world) isOut(seq uint64) {
	for n := range min(int(seq), len(w.enriched)) {
		for identity := range w.deadOf(n + 1) {
			if _, ok := w.letters[identity]; !ok {
				w.breaks("dead letters are said to be out up to frame %d, %s is not", seq, identity)
			}
		}
	}
	if int(seq) > len(w.enriched) {
		w.breaks("dead letters are said to be out up to frame %d, ENRICHED ends at %d", seq, len(w.enriched))
	}
}

// deadOf is what the verdict of frame n refuses: reasons by identity.
func (w *world) deadOf(n int) map[string]string {
	all := map[string]string{}
	err := w.enriched[n-1].verdict.Each(func(idx int, r *frame.Refused) bool {
		d := bus.DeadLetter{Incarnation: modelIncarnation, Place: bus.Place{Seq: uint64(n)}, Idx: idx}
		all[d.Identity()] = r.Stage + " " + r.Reason
		return true
	})
	if err != nil {
		w.breaks("the verdict of frame %d: %w", n, err)
	}
	return all
}

func (w *world) storeLetter(msg *nats.Msg) error {
	d, err := bus.ParseDeadLetter(msg.Header, msg.Data)
	if err != nil {
		return err
	}
	switch {
	case int(d.Seq) > len(w.enriched):
		w.breaks("dead letter %s is out before its verdict is stored", d.Identity())
	case w.deadOf(int(d.Seq))[d.Identity()] != d.Stage+" "+d.Reason:
		w.breaks("dead letter %s says %s %s, the verdict %q", d.Identity(), d.Stage, d.Reason, w.deadOf(int(d.Seq))[d.Identity()])
	}
	w.letters[d.Identity()] = d
	return nil
}

// What an owner reaches: the server's API as the packages of nats.go offer it.

type (
	simJS struct {
		jetstream.JetStream
		o *owner
	}
	simStream struct {
		jetstream.Stream
		o    *owner
		name string
		info atomic.Pointer[jetstream.StreamInfo]
	}
	simKV struct {
		jetstream.KeyValue
		o *owner
	}
	simEntry struct {
		jetstream.KeyValueEntry
		key   string
		value []byte
	}
	simConsumer struct {
		jetstream.Consumer
		o    *owner
		ctx  context.Context
		next int
	}
	simMessages struct {
		jetstream.MessagesContext
		*simConsumer
	}
	simMsg struct {
		jetstream.Msg
		header nats.Header
		data   []byte
		meta   jetstream.MsgMetadata
	}
)

func (m *simMsg) Metadata() (*jetstream.MsgMetadata, error) { return &m.meta, nil }
func (m *simMsg) Headers() nats.Header                      { return m.header }
func (m *simMsg) Data() []byte                              { return m.data }
func (e *simEntry) Key() string                             { return e.key }
func (e *simEntry) Value() []byte                           { return e.value }

func (w *world) info(name string) *jetstream.StreamInfo {
	i := &jetstream.StreamInfo{Config: jetstream.StreamConfig{
		Name: name, Metadata: map[string]string{"millrace-incarnation": strconv.Itoa(modelIncarnation)},
	}}
	if name != modelNames.StreamRaw(0) {
		i.State = jetstream.StreamState{Msgs: uint64(len(w.enriched)), FirstSeq: 1, LastSeq: uint64(len(w.enriched))}
		return i
	}
	i.State = jetstream.StreamState{FirstSeq: 1, LastSeq: uint64(len(w.in.raw)), Msgs: uint64(len(w.in.raw))}
	for n, msg := range w.in.raw {
		if msg == nil {
			i.State.Msgs--
			i.State.Deleted = append(i.State.Deleted, uint64(n+1))
		}
	}
	return i
}

func (j simJS) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	s := &simStream{o: j.o, name: name}
	_, err := s.Info(ctx)
	return s, err
}

func (s *simStream) CachedInfo() *jetstream.StreamInfo { return s.info.Load() }

// Info of RAW is always the same.
func (s *simStream) Info(ctx context.Context, _ ...jetstream.StreamInfoOpt) (*jetstream.StreamInfo, error) {
	err := s.o.ask(ctx, "look up "+s.name, s.name == modelNames.StreamRaw(0), func() uint64 {
		s.info.Store(s.o.w.info(s.name))
		return s.info.Load().State.LastSeq
	})
	return s.info.Load(), err
}

// GetMsg reads what never changes once it is there.
func (s *simStream) GetMsg(ctx context.Context, seq uint64, _ ...jetstream.GetMsgOpt) (*jetstream.RawStreamMsg, error) {
	w, msg := s.o.w, &jetstream.RawStreamMsg{Sequence: seq}
	err := s.o.ask(ctx, fmt.Sprintf("read %s at %d", s.name, seq), true, func() (state uint64) {
		switch {
		case s.name != modelNames.StreamRaw(0) && int(seq) <= len(w.enriched):
			found := &w.enriched[seq-1]
			msg.Header, msg.Data = found.msg.Header, found.msg.Data
			return found.state
		case s.name == modelNames.StreamRaw(0) && int(seq) <= len(w.in.raw) && w.in.raw[seq-1] != nil:
			found := w.in.raw[seq-1]
			msg.Header, msg.Data, msg.Time = found.header, found.data, found.meta.Timestamp
			return seq
		}
		msg = nil
		return 0
	})
	if err == nil && msg == nil {
		err = jetstream.ErrMsgNotFound
	}
	return msg, err
}

// value is one of the two keys that an owner uses. Only how far dead letters
// are out matters; the other is a help after crashes.
func (k simKV) value(key string) (value *[]byte, plain bool) {
	if key == modelNames.KeyDeadOut(0) {
		return &k.o.w.deadOut, false
	}
	return &k.o.w.crashes, true
}

func (k simKV) Get(ctx context.Context, key string) (jetstream.KeyValueEntry, error) {
	e := &simEntry{key: key}
	at, plain := k.value(key)
	err := k.o.ask(ctx, "get "+key, plain, func() uint64 {
		e.value = *at
		return explore.MixText(0, e.value)
	})
	if err == nil && e.value == nil {
		err = jetstream.ErrKeyNotFound
	}
	return e, err
}

func (k simKV) Put(ctx context.Context, key string, value []byte) (uint64, error) {
	at, plain := k.value(key)
	return 0, k.o.ask(ctx, "put "+key, plain, func() uint64 {
		*at = slices.Clone(value)
		if !plain {
			var incarnation, seq uint64
			if _, err := fmt.Sscanf(string(value), "%d:%d", &incarnation, &seq); err != nil {
				k.o.w.breaks("key %s is %q", key, value)
			}
			k.o.w.isOut(seq)
		}
		return 0
	})
}

func (j simJS) OrderedConsumer(ctx context.Context, _ string, cfg jetstream.OrderedConsumerConfig) (jetstream.Consumer, error) {
	c := &simConsumer{o: j.o, ctx: ctx, next: int(cfg.OptStartSeq)}
	return c, j.o.ask(ctx, "read RAW on", true, func() uint64 {
		if j.o.w.in.variant.forgetful {
			c.next = max(c.next, len(j.o.w.enriched)+1)
		}
		return uint64(c.next)
	})
}

func (c *simConsumer) Messages(...jetstream.PullMessagesOpt) (jetstream.MessagesContext, error) {
	return simMessages{simConsumer: c}, nil
}

func (simMessages) Stop() {}

// Next waits for a message. The end of waiting is that of the consumer's
// creation, which is all that can be seen here of the reader's: where that is
// its time limit, the reader comes again.
func (m simMessages) Next(...jetstream.NextOpt) (jetstream.Msg, error) {
	var got *simMsg
	err := m.o.call(&call{ctx: m.ctx, impatient: true, what: "RAW", ready: func() bool { return m.first() != nil }, do: func(int) (uint64, error) {
		got = m.first()
		m.next = int(got.meta.Sequence.Stream) + 1
		return uint64(m.next), nil
	}})
	if err != nil {
		return nil, err
	}
	return got, nil
}

func (c *simConsumer) first() *simMsg {
	for n := c.next; n <= len(c.o.w.in.raw); n++ {
		if msg := c.o.w.in.raw[n-1]; msg != nil {
			return msg
		}
	}
	return nil
}
