package indexer

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/testkit"
)

// says waits until the readiness check names a shard and a reason.
func (r *rig) says(x *Indexer, shard int, reason string) {
	r.Helper()
	testkit.Eventually(r, fmt.Sprintf("shard %d is shut: %s", shard, reason), func() bool {
		err := x.check()
		return err != nil && strings.Contains(err.Error(), fmt.Sprintf("shard %d is shut: ", shard)) && strings.Contains(err.Error(), reason)
	})
}

// ready waits until nothing is shut.
func (r *rig) ready(x *Indexer) {
	r.Helper()
	testkit.Eventually(r, "all shards are open", func() bool { return x.check() == nil })
}

func TestABlockOfSeveralShardsIsOnePart(t *testing.T) {
	r := newRig(t, 4)
	for shard := range 4 {
		for range 3 {
			r.feed(shard, 5+shard, plain)
		}
	}
	s, c := r.twin(r.indexer())
	b := s.newBatch()
	for _, sh := range s.shards {
		if err := sh.reread(t.Context(), b, 1, 3); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.commit(t.Context(), c, b); err != nil {
		t.Fatal(err)
	}
	if err := c.close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if rec := r.record(0); rec.Revision != 3 {
		t.Errorf("the ledger's newest record is %d, want an owner, an intent and a proof", rec.Revision)
	}
	for shard := range 4 {
		r.exact(shard, 0)
	}
	r.onePart(3 * (5 + 6 + 7 + 8))
}

// onePart checks that so many rows are all in one part, the table's first, that
// no merge has made.
func (r *rig) onePart(rows uint64) {
	r.Helper()
	all := r.db.Count("SELECT count() FROM events")
	if first := r.db.Count(`SELECT countIf(_part LIKE '%\_1\_1\_0') FROM events`); all != rows || first != rows {
		r.Errorf("%d rows, %d of them in the first part, want %d in one part", all, first, rows)
	}
}

// A block at the limits is still one part: a token covers one.
func TestTheLargestBlockIsOnePart(t *testing.T) {
	r := newRig(t, 1)
	x := r.indexer()
	tab := x.newTable()
	defer tab.close()
	block := frame.NewBlock(frame.RowSchema)
	name := strings.Repeat("n", 300)
	for i := range x.cfg.MaxRows {
		addRow(block, 0, uint64(1+i/100), uint32(i%100), name)
	}
	if err := tab.Insert(t.Context(), block, "t"); err != nil {
		t.Fatal(err)
	}
	r.onePart(uint64(x.cfg.MaxRows))
}

// Frames that were collected before their shard was rewound do not count, also
// when they are in a batch that is already on its way.
func TestFramesOfAnEarlierReadingAreLeftOut(t *testing.T) {
	r := newRig(t, 2)
	for range 4 {
		r.feed(0, 5, plain)
		r.feed(1, 5, plain)
	}
	s, c := r.twin(r.indexer())
	collect := func(life, shard int, first, last uint64) *batch {
		b := s.newBatch()
		for _, sh := range s.shards {
			part := s.newBatch()
			from, to := uint64(2), uint64(2)
			if sh.id == shard {
				from, to = first, last
			}
			if err := sh.reread(t.Context(), part, from, to); err != nil {
				t.Fatal(err)
			}
			for _, h := range part.parts[sh.lane].frames {
				a := arrival{lane: sh.lane, seq: h.seq, totals: bus.Totals{In: 7, Rows: 5, Dead: 1, Repeats: 1}, body: part.packed[h.from:h.to]}
				if sh.id == shard {
					a.life = life
				}
				if err := b.add(&a); err != nil {
					t.Fatal(err)
				}
			}
		}
		return b
	}
	commit := func(b *batch, want0, want1 uint64) {
		t.Helper()
		if err := s.commit(t.Context(), c, b); err != nil {
			t.Fatal(err)
		}
		state := c.state()
		if state[0].Proven != want0 || state[1].Proven != want1 {
			t.Fatalf("proven are %d and %d, want %d and %d", state[0].Proven, state[1].Proven, want0, want1)
		}
	}
	one := s.newBatch()
	for _, sh := range s.shards {
		if err := sh.reread(t.Context(), one, 1, 1); err != nil {
			t.Fatal(err)
		}
	}
	commit(one, 1, 1)
	s.shards[0].rewind(2, 2, errors.New("as if frame 2 were damaged"))
	commit(collect(0, 0, 3, 4), 1, 2)
	if life, next, suspect := s.shards[0].position(); life != 1 || next != 2 || suspect != 2 {
		t.Errorf("frames of the old life moved the shard to frame %d, life %d, because of frame %d", next, life, suspect)
	}
	// A frame of the new life replaces those of the old one in a batch.
	b := collect(0, 0, 3, 4)
	b.drop(1)
	again := collect(1, 0, 2, 3)
	for _, h := range again.parts[0].frames {
		a := arrival{seq: h.seq, life: 1, totals: bus.Totals{In: 7, Rows: 5, Dead: 1, Repeats: 1}, body: again.packed[h.from:h.to]}
		if err := b.add(&a); err != nil {
			t.Fatal(err)
		}
	}
	if b.frames != 2 || b.rows != 10 {
		t.Fatalf("the batch has %d frames and %d rows, want 2 and 10", b.frames, b.rows)
	}
	commit(b, 3, 2)
	// Frames that do not follow are never announced, whatever their life.
	revision := c.last.Revision
	commit(collect(1, 0, 2, 3), 3, 2)
	if c.last.Revision != revision {
		t.Errorf("frames that were proven are announced again: %+v", c.last.Open)
	}
	for lane, want := range []uint64{4, 3} {
		if _, next, _ := s.shards[lane].position(); next != want {
			t.Errorf("shard %d reads on from %d, want %d", lane, next, want)
		}
	}
}

// The open block has frames of a shard that went back. It can be settled whole
// or not at all: the sink waits, and says for whom.
func TestASinkWaitsForAShardOfItsOpenBlock(t *testing.T) {
	r := newRig(t, 2)
	x := r.indexer()
	stop := r.start(x)
	r.settled(0, r.feed(0, 5, plain))
	r.settled(1, r.feed(1, 5, plain))
	stop()
	before := r.sent
	r.feed(0, 5, plain)
	r.feed(1, 5, plain)
	each := bus.Totals{In: 7, Rows: 5, Dead: 1, Repeats: 1}
	r.append(func(rec *bus.Record) {
		rec.Open = &bus.Intent{Ranges: []bus.Range{{Shard: 0, First: 2, Last: 2, Totals: each}, {Shard: 1, First: 2, Last: 3, Totals: each.Plus(each)}}}
	})
	x = r.indexer()
	r.start(x)
	r.says(x, 0, "all shards of sink 0 wait for shard 1")
	r.says(x, 1, "ENRICHED ends at 2, the ledger knows frame 3")
	for shard := range 2 {
		if n := r.db.Count("SELECT count() FROM events WHERE _shard = ?", shard); n != before[shard].Rows {
			t.Errorf("shard %d has %d rows", shard, n)
		}
	}
	// The frame that was lost comes back.
	r.feed(1, 5, plain)
	r.ready(x)
	r.settled(0, 2)
	r.settled(1, 3)
	r.exact(0, 0)
	r.exact(1, 0)
}

func TestARowThatClickHouseRefusesIsTakenFromItsOwnShard(t *testing.T) {
	r := newRig(t, 2)
	r.db.Exec("ALTER TABLE millrace.events ADD CONSTRAINT polite CHECK event != 'rude'")
	for shard := range 2 {
		r.feed(shard, 20, func(i int) string {
			if i == 3+shard {
				return "rude"
			}
			return plain(i)
		})
	}
	r.start(r.indexer())
	r.settled(0, 1)
	r.settled(1, 1)
	r.exact(0, 1)
	r.exact(1, 1)
	testkit.Eventually(t, "a dead letter of each shard", func() bool {
		return r.db.Count("SELECT count() FROM dead_letters WHERE reason = 'row_refused' AND _seq = 1 AND _idx = 3 + _shard") == 2
	})
}

func TestALedgerThatIsNotThisSinksIsRefused(t *testing.T) {
	old := `{"incarnation":1,"shard":0,"proven":0,"totals":{"in":0,"rows":0,"dead":0,"repeats":0},"owner":"a","at":"2026-01-01T00:00:00Z"}`
	for name, c := range map[string]struct {
		write  func(r *rig)
		reason string
	}{
		"of an older Millrace": {func(r *rig) {
			if _, err := r.js.Publish(r.Context(), r.inst.Names.Ledger(0), []byte(old)); err != nil {
				r.Fatal(err)
			}
		}, "older Millrace"},
		"of other shards": {func(r *rig) {
			rec := bus.Record{Incarnation: r.inst.Incarnation, Shards: []bus.Proof{{Shard: 0}, {Shard: 2}}}
			if err := bus.LedgerAppend(r.Context(), r.js, r.ledger(), r.inst.Names, &rec, 0); err != nil {
				r.Fatal(err)
			}
		}, "is of shards [0 2], the sink's are [0 1]"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 2)
			c.write(r)
			r.feed(0, 5, plain)
			x := r.indexer()
			r.start(x)
			r.says(x, 0, c.reason)
			r.says(x, 1, c.reason)
			if n := r.db.Count("SELECT count() FROM events"); n != 0 {
				t.Errorf("%d rows", n)
			}
			last, err := r.ledger().GetLastMsgForSubject(t.Context(), r.inst.Names.Ledger(0))
			if err != nil || last.Sequence != 1 {
				t.Errorf("the ledger was written: %v, %v", last, err)
			}
		})
	}
}

// What a client holds of a shard is bounded by bytes; frames as large as NATS
// takes still come through.
func TestTheLargestFramesComeThrough(t *testing.T) {
	r := newRig(t, 8)
	large := make([]byte, 6<<20)
	for i := range large {
		large[i] = byte(i*i>>8) | 1
	}
	r.start(r.indexer())
	for k := range 3 {
		r.spoil = func(msg *nats.Msg) {
			if k != 1 {
				return
			}
			native, err := frame.Unpack(nil, msg.Data)
			if err != nil {
				t.Fatal(err)
			}
			view, b := frame.NewView(frame.RowSchema), frame.NewBlock(frame.RowSchema)
			if err := view.Parse(native); err != nil {
				t.Fatal(err)
			}
			for row := range view.Rows() {
				if row == 0 {
					addRow(b, 0, view.U64(frame.ColSeq, 0), 0, string(large))
				} else {
					b.AppendRow(view, row)
				}
			}
			msg.Data = frame.Pack(nil, b.AppendNative(nil))
		}
		r.feed(0, 5, plain)
	}
	r.settled(0, 3)
	r.exact(0, 0)
	if n := r.db.Count("SELECT count() FROM events WHERE length(event) = ?", len(large)); n != 1 {
		t.Errorf("%d rows with a large name", n)
	}
}
