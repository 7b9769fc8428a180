package query

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/localdb"
)

// lane is one shard in which a test writes what ingester, enricher and indexer would have written, and then tampers.
type lane struct {
	*rig
	shard  int
	ledger jetstream.Stream
	rec    bus.Share // what the newest record says
	n      int       // for ids
}

func (r *rig) lane(shard int) *lane {
	r.Helper()
	ledger, err := r.js.Stream(r.Context(), r.inst.Names.StreamLedger())
	if err != nil {
		r.Fatal(err)
	}
	return &lane{rig: r, shard: shard, ledger: ledger}
}

// must ends the test on an error.
func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// part is one frame to write. The zero part has 10 rows, a repeat, and a refused event.
type part struct {
	rows    int
	verdict func(*frame.Verdict) // changes what ENRICHED says
	frame   string               // the id that ENRICHED answers, if not RAW's
	letters bool                 // the dead letter goes to DEAD instead of ClickHouse
	both    bool                 // it goes to both
	skip    bool                 // no rows and no dead letters are stored
	whole   bool                 // the frame was undecodable: one dead letter for all of it
}

// frames writes parts to RAW, ENRICHED and ClickHouse, and returns their range and what they hold.
func (l *lane) frames(parts ...part) bus.Range {
	l.Helper()
	in := bus.Range{Shard: l.shard}
	for _, p := range parts {
		if p.rows == 0 {
			p.rows = 10
		}
		l.n++
		id := fmt.Sprintf("frame-%d-%d", l.shard, l.n)
		seq := l.rawFrame(l.shard, p.rows+2, id)
		v := frame.Verdict{In: p.rows + 2, Rows: p.rows, Repeats: 1}
		v.Refuse(p.rows+1, "door", "no_user", "")
		if p.whole {
			v = frame.Verdict{In: p.rows + 2, Undecodable: true, Refused: []frame.Refused{{Count: p.rows + 2, Stage: "enricher", Reason: "undecodable"}}}
		}
		if p.verdict != nil {
			p.verdict(&v)
		}
		if p.frame != "" {
			id = p.frame
		}
		c := frame.Checkpoint{Frame: id, Received: time.Now().UTC(), Window: 1, Remembers: 3600, DeadOut: seq}
		msg := nats.NewMsg(l.inst.Names.Enriched(l.shard))
		msg.Header.Set(bus.HeaderCodec, strconv.Itoa(frame.Codec))
		msg.Header.Set(bus.HeaderVerdict, frame.Encode(&v))
		msg.Header.Set(bus.HeaderCheckpoint, frame.Encode(&c))
		_, err := l.js.PublishMsg(l.Context(), msg, jetstream.WithExpectLastSequence(seq-1))
		l.must(err)
		if in.First == 0 {
			in.First = seq
		}
		in.Last = seq
		in.Totals = in.Totals.Plus(bus.Totals{In: uint64(v.In), Rows: uint64(v.Rows), Dead: uint64(v.Dead()), Repeats: uint64(v.Repeats)})
		if p.skip {
			continue
		}
		if v.Rows > 0 {
			l.rows(seq, v.Rows)
		}
		switch {
		case p.whole:
			l.dead(seq, 0, p.rows+2, "enricher")
		case v.Dead() > 0 && !p.letters:
			l.dead(seq, p.rows+1, 1, "door")
		}
		if p.letters || p.both {
			l.letter(seq, p.rows+1)
		}
	}
	return in
}

// stored is a row or a dead letter that flush brings into ClickHouse.
type stored struct {
	shard  int
	seq    uint64
	idx    int
	events int
	stage  string
}

// row stores one row of a frame, rows rows 0..n-1.
func (l *lane) row(seq uint64, idx int) {
	l.events = append(l.events, stored{shard: l.shard, seq: seq, idx: idx})
}

func (l *lane) rows(seq uint64, n int) {
	for i := range n {
		l.row(seq, i)
	}
}

// dead stores a dead letter in ClickHouse.
func (l *lane) dead(seq uint64, idx, events int, stage string) {
	l.letters = append(l.letters, stored{shard: l.shard, seq: seq, idx: idx, events: events, stage: stage})
}

// flush brings what was stored since into ClickHouse.
func (r *rig) flush() {
	r.Helper()
	batch, err := r.db.Open(localdb.WriterUser).PrepareBatch(r.Context(), "INSERT INTO events (_shard, _seq, _idx, received_at)")
	r.must(err)
	for _, x := range r.events {
		r.must(batch.Append(uint16(x.shard), x.seq, uint32(x.idx), time.Now()))
	}
	r.must(batch.Send())
	batch, err = r.db.Open(localdb.WriterUser).PrepareBatch(r.Context(), "INSERT INTO dead_letters_log (_incarnation, _shard, _seq, _idx, events, stage, received_at)")
	r.must(err)
	for _, x := range r.letters {
		r.must(batch.Append(r.inst.Incarnation, uint16(x.shard), x.seq, uint32(x.idx), uint32(x.events), x.stage, time.Now()))
	}
	r.must(batch.Send())
	r.events, r.letters = nil, nil
}

// letter publishes a dead letter that is not in ClickHouse yet.
func (l *lane) letter(seq uint64, idx int) {
	l.Helper()
	d := bus.DeadLetter{
		Incarnation: l.inst.Incarnation, Place: bus.Place{Shard: l.shard, Seq: seq}, Idx: idx, Events: 1,
		Stage: "door", Reason: "no_user", Received: time.Now(), Original: []byte("{}"),
	}
	_, err := l.js.PublishMsg(l.Context(), d.Msg(l.inst.Names))
	l.must(err)
}

// append stores a ledger record in which the shard's share is changed; those of the sink's other shards stay.
func (l *lane) append(change func(*bus.Share)) {
	l.Helper()
	sink := l.inst.SinkOf(l.shard)
	last, _, err := bus.LedgerLast(l.Context(), l.ledger, l.inst.Names, sink)
	l.must(err)
	rec := bus.Record{Incarnation: l.inst.Incarnation, Sink: sink, Owner: "test", At: time.Now().UTC()}
	for _, shard := range l.inst.ShardsOf(sink) {
		share := last.Share(shard)
		if shard == l.shard {
			change(&share)
		}
		rec.Shards = append(rec.Shards, share.Proof)
		if share.Open != nil {
			if rec.Open == nil {
				rec.Open = &bus.Intent{}
			}
			rec.Open.Ranges = append(rec.Open.Ranges, *share.Open)
			rec.Open.Excluded = append(rec.Open.Excluded, share.Excluded...)
			rec.Open.Whys = []string{"too long"}
		}
	}
	l.must(bus.LedgerAppend(l.Context(), l.js, l.ledger, l.inst.Names, &rec, last.Revision))
	l.rec = rec.Share(l.shard)
}

// announce writes the intent, prove that it is done.
func (l *lane) announce(in bus.Range) { l.Helper(); l.append(func(r *bus.Share) { r.Open = &in }) }

func (l *lane) done() {
	l.Helper()
	l.append(func(r *bus.Share) {
		r.Totals = r.After()
		r.Proven, r.Open, r.Excluded = r.Open.Last, nil, nil
	})
}

// block is frames that are announced and proven.
func (l *lane) block(parts ...part) bus.Range {
	l.Helper()
	in := l.frames(parts...)
	l.announce(in)
	l.done()
	return in
}

// lose takes rows of the shard out again before they come into ClickHouse, loseLetters dead letters.
func (l *lane) lose(which func(seq uint64, idx int) bool) { l.events = l.without(l.events, which) }

func (l *lane) loseLetters(which func(seq uint64, idx int) bool) {
	l.letters = l.without(l.letters, which)
}

func (l *lane) without(list []stored, which func(seq uint64, idx int) bool) []stored {
	n := len(list)
	list = slices.DeleteFunc(list, func(x stored) bool { return x.shard == l.shard && which(x.seq, x.idx) })
	if len(list) == n {
		l.Fatal("there is nothing to lose")
	}
	return list
}

func place(seq uint64, idx int) func(uint64, int) bool {
	return func(s uint64, i int) bool { return s == seq && i == idx }
}

func frames(seqs ...uint64) func(uint64, int) bool {
	return func(s uint64, _ int) bool { return slices.Contains(seqs, s) }
}

// loosen makes a stream of the shard anew so that messages can be deleted from it, which Millrace's own forbid.
func (l *lane) loosen(name string) jetstream.Stream {
	l.Helper()
	old, err := l.js.Stream(l.Context(), name)
	l.must(err)
	cfg := old.CachedInfo().Config
	l.must(l.js.DeleteStream(l.Context(), name))
	cfg.DenyDelete = false
	s, err := l.js.CreateStream(l.Context(), cfg)
	l.must(err)
	return s
}
