package query

import (
	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
)

// tampering is one fault: what is written to a shard of its own, and what verify must say of it.
type tampering struct {
	name string
	do   func(l *lane)
	want []string // kind first-last expected/found, in any order
}

// five writes three blocks of 2, 2 and 1 frames, numbered 1 to 5.
func five(l *lane) {
	l.block(part{}, part{})
	l.block(part{}, part{rows: 20})
	l.block(part{})
}

var tamperings = []tampering{
	{"nothing", func(l *lane) { five(l) }, nil},
	{"empty shard", func(l *lane) {}, nil},
	{"a row missing", func(l *lane) {
		five(l)
		l.lose(place(3, 7))
	}, []string{"missing 3-3 10/9"}},
	{"neighbouring frames without rows", func(l *lane) {
		five(l)
		l.lose(frames(3, 4))
	}, []string{"missing 3-4 30/0"}},
	{"a row doubled", func(l *lane) {
		five(l)
		l.row(4, 11)
	}, []string{"doubled 4-4 20/21"}},
	{"a row missing and another doubled", func(l *lane) {
		five(l)
		l.lose(place(2, 0))
		l.row(5, 1)
	}, []string{"missing 2-2 10/9", "doubled 5-5 10/11"}},
	{"a block inserted twice", func(l *lane) {
		five(l)
		l.rows(3, 10)
		l.rows(4, 20)
	}, []string{"doubled 3-4 30/60"}},
	{"a row that nobody sent", func(l *lane) {
		five(l)
		l.row(2, 11)
	}, []string{"surplus 2-2 10/11"}},
	{"a row in the place of another", func(l *lane) {
		five(l)
		l.lose(place(2, 3))
		l.row(2, 500)
	}, []string{"surplus 2-2 12/501"}},
	{"rows beyond the ledger", func(l *lane) {
		five(l)
		l.rows(9, 3)
	}, []string{"beyond 6-9 5/9"}},

	{"a dead letter missing", func(l *lane) {
		five(l)
		l.loseLetters(frames(4))
	}, []string{"dead_missing 4-4 1/0"}},
	{"a dead letter on its way", func(l *lane) {
		l.block(part{}, part{letters: true}, part{})
	}, nil},
	{"a dead letter in ClickHouse and not acknowledged", func(l *lane) {
		l.block(part{}, part{both: true}, part{})
	}, nil},
	{"a dead letter copied", func(l *lane) {
		five(l)
		l.flush() // a copy in the same insert would be dropped by the table
		l.dead(2, 11, 1, "door")
	}, nil},
	{"a dead letter that nobody sent", func(l *lane) {
		five(l)
		l.dead(2, 3, 1, "door")
	}, []string{"dead_surplus 2-2 1/2"}},
	{"a frame that could not be read", func(l *lane) {
		l.block(part{}, part{whole: true}, part{})
	}, nil},
	{"a frame that could not be read, its letter missing", func(l *lane) {
		l.block(part{}, part{whole: true}, part{})
		l.loseLetters(frames(2))
	}, []string{"dead_missing 2-2 12/0"}},
	{"a row that ClickHouse refused", func(l *lane) { refusedRow(l); l.dead(2, 4, 1, "indexer") }, nil},
	{"a row that ClickHouse refused, its letter missing", refusedRow, []string{"dead_missing 2-2 2/1"}},

	{"a gap in the ledger", func(l *lane) {
		l.block(part{})
		l.frames(part{})
		in := l.frames(part{})
		l.announce(in)
		l.done()
	}, []string{"ledger_gap 2-3 2/3", "totals 2-3 12/24"}},
	{"proof without an intent", func(l *lane) {
		l.block(part{})
		in := l.frames(part{})
		l.append(func(r *bus.Share) { r.Proven, r.Totals = in.Last, r.Totals.Plus(in.Totals) })
	}, []string{"ledger_gap 2-2 1/2"}},
	{"totals that are no sum", func(l *lane) {
		l.announce(l.frames(part{}))
		l.append(func(r *bus.Share) {
			r.Proven, r.Totals, r.Open = 1, bus.Totals{In: 12, Rows: 11, Dead: 1, Repeats: 1}, nil
		})
	}, []string{"totals 1-1 12/13", "totals 1-1 12/12", "totals 1-1 12/12"}},
	{"totals that lose a row", func(l *lane) {
		five(l)
		in := l.frames(part{})
		l.announce(in)
		l.append(func(r *bus.Share) {
			r.Proven, r.Totals, r.Open = 6, r.Totals.Plus(bus.Totals{In: 11, Rows: 9, Dead: 1, Repeats: 1}), nil
		})
	}, []string{"totals 6-6 82/81", "totals 6-6 11/12"}},
	{"a ledger that goes back", func(l *lane) {
		five(l)
		l.append(func(r *bus.Share) { r.Proven, r.Totals = 4, bus.Totals{In: 58, Rows: 50, Dead: 4, Repeats: 4} })
	}, []string{"ledger_gap 5-5 5/4", "beyond 5-5 4/5"}},
	{"a ledger of another life", func(l *lane) {
		l.announce(l.frames(part{}))
		l.inst.Incarnation++
		l.done()
		l.inst.Incarnation--
	}, []string{"went_back 0-0 1/1"}},

	{"a hole in ENRICHED", func(l *lane) {
		s := l.loosen(l.inst.Names.StreamEnriched(l.shard))
		five(l)
		l.must(s.DeleteMsg(l.Context(), 3))
	}, []string{"hole 3-3 1/0"}},
	{"a hole in ENRICHED and its rows gone", func(l *lane) {
		s := l.loosen(l.inst.Names.StreamEnriched(l.shard))
		five(l)
		l.must(s.DeleteMsg(l.Context(), 3))
		l.lose(frames(3))
	}, []string{"hole 3-3 1/0", "missing 3-4 10/0"}},
	{"the last frame of ENRICHED gone", func(l *lane) {
		s := l.loosen(l.inst.Names.StreamEnriched(l.shard))
		five(l)
		l.must(s.DeleteMsg(l.Context(), 5))
	}, []string{"went_back 0-0 5/5", "hole 5-5 1/0"}},
	{"a hole in RAW", func(l *lane) {
		s := l.loosen(l.inst.Names.StreamRaw(l.shard))
		five(l)
		l.must(s.DeleteMsg(l.Context(), 2))
	}, []string{"hole 2-2 1/0"}},
	{"a lost frame", func(l *lane) {
		s := l.loosen(l.inst.Names.StreamRaw(l.shard))
		l.block(part{}, part{verdict: func(v *frame.Verdict) { *v = frame.Verdict{Lost: true} }}, part{})
		l.must(s.DeleteMsg(l.Context(), 2))
	}, []string{"lost 2-2 1/0"}},
	{"a verdict that counts too few", func(l *lane) {
		l.block(part{}, part{verdict: func(v *frame.Verdict) { v.In, v.Repeats = 11, 0 }}, part{})
	}, []string{"verdict 2-2 12/11"}},
	{"a verdict that is no sum", func(l *lane) {
		l.block(part{}, part{verdict: func(v *frame.Verdict) { v.Repeats = 3 }}, part{})
	}, []string{"verdict 2-2 12/14", "totals 1-3 36/38"}},
	{"a frame of ENRICHED of another RAW", func(l *lane) {
		l.block(part{}, part{frame: "another"}, part{})
	}, []string{"foreign 2-2 1/0"}},
	{"the last frame of ENRICHED of another RAW", func(l *lane) {
		l.block(part{}, part{frame: "another"})
	}, []string{"went_back 0-0 2/2", "foreign 2-2 1/0"}},

	{"a missing row after the streams were trimmed", func(l *lane) {
		five(l)
		l.trim(5)
		l.lose(place(3, 1))
	}, []string{"missing 3-4 30/29"}},
	{"trimmed and whole", func(l *lane) { five(l); l.trim(5) }, nil},
	{"a missing dead letter after the streams were trimmed", func(l *lane) {
		five(l)
		l.trim(4)
		l.loseLetters(frames(1))
	}, []string{"dead_missing 1-2 2/1"}},
	{"a missing row that only the totals remember", func(l *lane) {
		five(l)
		l.trim(4)
		l.forget()
		l.block(part{})
		l.lose(place(1, 1))
	}, []string{"missing 1-3 30/29"}},
	{"a doubled row that only the totals remember", func(l *lane) {
		five(l)
		l.trim(4)
		l.forget()
		l.block(part{})
		l.row(2, 5)
	}, []string{"doubled 2-2 10/11"}},
	{"only the totals remember, and whole", func(l *lane) {
		refusedRow(l)
		l.dead(2, 4, 1, "indexer")
		l.trim(2)
		l.forget()
		l.block(part{})
	}, nil},

	{"a block that is open", func(l *lane) {
		five(l)
		l.announce(l.frames(part{}))
	}, nil},
}

// refusedRow is a block of which ClickHouse refused row 4 of frame 2. Its dead letter is still to come.
func refusedRow(l *lane) {
	in := l.frames(part{}, part{}, part{})
	l.announce(in)
	l.lose(place(2, 4))
	l.append(func(r *bus.Share) { r.Excluded = []bus.Exclusion{{Shard: l.shard, Seq: 2, Idx: 4}} })
	l.done()
}

// trim purges RAW and ENRICHED below a frame, as the indexer does.
func (l *lane) trim(below uint64) {
	l.Helper()
	l.must(bus.Purge(l.Context(), l.js, l.inst.Names.StreamRaw(l.shard), below))
	l.must(bus.Purge(l.Context(), l.js, l.inst.Names.StreamEnriched(l.shard), below))
}

// keptRecords is how many records of a shard the ledger keeps in these tests, so that few are enough to evict all.
const keptRecords = 30

// forget writes so many records that the ledger evicts all older ones.
func (l *lane) forget() {
	l.Helper()
	for range keptRecords {
		l.append(func(*bus.Share) {})
	}
}
