package indexer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ClickHouse/ch-go"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/testkit/explore"
)

// The model runs the committer's own code, and that of the ledger, against a
// simulated JetStream and a simulated ClickHouse. Owners are interleaved at
// every call they make; what each call may meet is below. docs/decisions/
// 0006-model.md says what is inside the model and what is not.

const (
	// fault is a crash, a request or a reply that is lost, a request that
	// arrives late, a kill of ClickHouse.
	fault explore.Kind = iota
	// nap is a time longer than freshIntent that goes by without anything else.
	nap
)

// world is the outside of the owners of one sink.
type world struct {
	*explore.Story
	in *scenario

	bodies  [][]byte // the ledger's records
	rows    map[place]int
	tokens  []string       // as ClickHouse knows them, oldest first
	added   int            // tokens that were ever noted
	noted   map[string]int // how many there were before each
	late    []late         // requests that arrive some time
	letters map[place]bool
	trimmed [modelShards]uint64 // frames that ENRICHED no longer holds

	owners  []*owner
	lives   int
	elapsed int   // seconds
	slept   int   // of them
	broken  error // the first thing that may never be
}

// late is a request on its way.
type late struct {
	what   any
	arrive func()
	state  uint64 // what it will do, for the world's state
}

var errNetwork = errors.New("connection lost")

// appends is a record as a failure tells of it.
type appends []byte

func (body appends) String() string {
	rec, err := bus.DecodeRecord(body)
	if err != nil {
		return err.Error()
	}
	text := "append of owner " + rec.Owner + ", proven"
	for _, p := range rec.Shards {
		text += fmt.Sprintf(" %d:%d", p.Shard, p.Proven)
	}
	if rec.Open != nil {
		text += fmt.Sprintf(", open %s attempt %d", frames(rec.Open), rec.Open.Attempt)
	}
	return text
}

// timeless is a record without its time, which differs from story to story.
func timeless(body []byte) string {
	text := string(body)
	before, after, _ := strings.Cut(text, `"at":"`)
	_, after, _ = strings.Cut(after, `"`)
	return before + after
}

// state stands for all that the rest of the story depends on. Of the ledger that
// is the newest record and its number, of an owner what it has been told, and
// of one that has ended only how.
func (w *world) state() uint64 {
	h := explore.Mix(1, uint64(len(w.bodies)), uint64(w.lives), uint64(w.elapsed))
	if n := len(w.bodies); n > 0 {
		h = explore.MixText(h, timeless(w.bodies[n-1]))
	}
	for _, p := range modelPlaces {
		bit := uint64(w.rows[p]) << 1
		if w.letters[p] {
			bit++
		}
		h = explore.Mix(h, bit)
	}
	known := uint64(0) // in any order, unless they are forgotten in one
	for i, t := range w.tokens {
		order := uint64(0)
		if w.in.window > 0 {
			order = uint64(w.added - i)
		}
		known += explore.MixText(order, t)
	}
	if w.in.window > 0 {
		for t, n := range w.noted {
			known += explore.MixText(uint64(n), t)
		}
		h = explore.Mix(h, uint64(w.added))
	}
	onTheWay := uint64(0)
	for _, l := range w.late {
		onTheWay += l.state
	}
	h = explore.Mix(h, known, onTheWay)
	h = explore.Mix(h, w.trimmed[:]...)
	done := uint64(0)
	for _, o := range w.owners {
		switch o.fate {
		case alive:
			h = explore.Mix(h, o.seen)
		case through:
			done = 1
		}
	}
	return explore.Mix(h, done)
}

func (w *world) breaks(format string, args ...any) {
	if w.broken == nil {
		w.broken = fmt.Errorf(format, args...)
	}
}

// append is JetStream's compare-and-set.
func (w *world) append(body []byte, expect uint64) (seq uint64, err error) {
	if uint64(len(w.bodies)) != expect && !w.in.variant.unfenced {
		return 0, &jetstream.APIError{Code: 400, ErrorCode: 10071, Description: "wrong last sequence"}
	}
	w.bodies = append(w.bodies, body)
	rec, ok := w.in.records[string(body)]
	if !ok {
		if rec, err = bus.DecodeRecord(body); err != nil {
			return 0, err
		}
		w.in.records[string(body)] = rec
	}
	w.holds(&rec)
	return uint64(len(w.bodies)), nil
}

// holds checks that what a record says is proven is there.
func (w *world) holds(rec *bus.Record) {
	for _, p := range rec.Shards {
		if p.Proven < w.trimmed[p.Shard] {
			w.breaks("the ledger says shard %d is proven up to %d, ENRICHED is trimmed up to %d", p.Shard, p.Proven, w.trimmed[p.Shard])
		}
	}
	for _, p := range modelPlaces {
		if p.seq > rec.Shards[p.shard].Proven {
			continue
		}
		want := 1
		if w.in.poison[p] {
			want = 0
		}
		if w.rows[p] != want || w.letters[p] != w.in.poison[p] {
			w.breaks("the ledger says that row %v is proven, it is there %d times, as a dead letter %v", p, w.rows[p], w.letters[p])
		}
	}
}

// write stores the rows of one partition unless its token is known. With
// orphan, the token is noted and the rows are lost. ClickHouse deduplicates
// each partition on its own; here they are two, by _idx.
func (w *world) write(all []place, partition uint32, token string, orphan bool) {
	key := fmt.Sprint(partition, " ", token)
	mine := slices.DeleteFunc(slices.Clone(all), func(p place) bool { return p.idx%2 != partition })
	if len(mine) == 0 || slices.Contains(w.tokens, key) {
		return
	}
	w.tokens = append(w.tokens, key)
	if _, ok := w.noted[token]; !ok {
		w.noted[token] = w.added
	}
	w.added++
	if n := 2 * w.in.window; n > 0 {
		w.tokens = w.tokens[max(0, len(w.tokens)-n):]
		// So many blocks take longer than freshIntent; that is what it is for.
		w.elapsed += int(freshIntent.Seconds())/n + 1
	}
	if orphan {
		return
	}
	for _, p := range mine {
		if w.rows[p]++; w.rows[p] > 1 {
			w.breaks("row %v is there twice", p)
		}
	}
}

// store is an insert that is not disturbed.
func (w *world) store(all []place, token string) error {
	for _, p := range all {
		if w.in.poison[p] {
			return &ch.Exception{Code: 469, Message: fmt.Sprintf("constraint is violated by %v", p)}
		}
	}
	w.write(all, 0, token, false)
	w.write(all, 1, token, false)
	return nil
}

// arrives says whether an insert that was sent when so many tokens had been noted
// still arrives. What the protocol relies on: an insert whose token is unknown
// or known when it is sent arrives before ClickHouse has forgotten it. One that
// is sent with a token that is forgotten already is the protocol's own fault. A
// scenario may say that inserts travel as long as they like.
func (w *world) arrives(token string, sent int) bool {
	n := 2 * w.in.window
	if n == 0 || w.in.slowWire {
		return true
	}
	noted, ok := w.noted[token]
	if !ok {
		return w.added-sent <= n
	}
	return sent-noted > n || w.added-min(sent, noted) <= n
}

// The calls of an owner. Each is one step: it waits until the owner is
// scheduled, and is then done at once, in one of the ways that it can go.

// js and ledger are the LEDGER stream as one owner reaches it.
type (
	js struct {
		jetstream.JetStream
		o *owner
	}
	ledger struct {
		jetstream.Stream
		o *owner
	}
)

func (j js) PublishMsg(_ context.Context, msg *nats.Msg, _ ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	o := j.o
	o.step("append")
	var expect uint64
	if _, err := fmt.Sscan(msg.Header.Get(jetstream.ExpectedLastSubjSeqHeader), &expect); err != nil {
		return nil, err
	}
	w, ack := o.w, &jetstream.PubAck{}
	way := w.Fault(fault, 5)
	o.tells(appends(msg.Data), way, "", "lost", "crash", "late", "reply lost")
	switch way {
	case 1:
		return nil, o.saw(errNetwork)
	case 2:
		panic(crash{})
	case 3:
		w.late = append(w.late, late{appends(msg.Data), func() { _, _ = w.append(msg.Data, expect) }, explore.MixText(expect, timeless(msg.Data))})
		return nil, o.saw(errNetwork)
	}
	var err error
	ack.Sequence, err = w.append(msg.Data, expect)
	if way == 4 {
		err = errNetwork
	}
	o.saw(err, ack.Sequence)
	o.rest()
	return ack, err
}

func (l ledger) GetLastMsgForSubject(context.Context, string) (*jetstream.RawStreamMsg, error) {
	o := l.o
	o.step("read the ledger")
	if err := o.mayFail(); err != nil {
		return nil, err
	}
	n := len(o.w.bodies)
	if n == 0 {
		return nil, o.saw(jetstream.ErrMsgNotFound)
	}
	o.seen = explore.MixText(o.seen, timeless(o.w.bodies[n-1]))
	o.saw(nil, uint64(n))
	return &jetstream.RawStreamMsg{Sequence: uint64(n), Data: o.w.bodies[n-1]}, nil
}

// mayFail is a call that changes nothing: it has an answer or not.
func (o *owner) mayFail() error {
	way := o.w.Fault(fault, 3)
	o.tells("", way, "", "no answer", "crash")
	switch way {
	case 1:
		return o.saw(errNetwork)
	case 2:
		panic(crash{})
	}
	return nil
}
