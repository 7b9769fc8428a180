package query

import (
	"cmp"
	"context"
	"fmt"
	"iter"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
)

// answersIn yields what ENRICHED holds of the frames up to `to`.
func (s *Service) answersIn(ctx context.Context, shard int, to uint64) iter.Seq2[answerOf, error] {
	return func(yield func(answerOf, error) bool) {
		for m, err := range s.messages(ctx, span{stream: s.names.StreamEnriched(shard), from: 1, to: to}) {
			a := answerOf{seq: m.seq}
			if err == nil {
				var c frame.Checkpoint
				a.damage = cmp.Or(frame.Decode(m.header.Get(bus.HeaderVerdict), &a.verdict), frame.Decode(m.header.Get(bus.HeaderCheckpoint), &c))
				a.frame = c.Frame
			}
			if !yield(a, err) {
				return
			}
		}
	}
}

// askedIn yields what RAW holds of the frames up to `to`.
func (s *Service) askedIn(ctx context.Context, shard int, to uint64) iter.Seq2[askedOf, error] {
	return func(yield func(askedOf, error) bool) {
		for m, err := range s.messages(ctx, span{stream: s.names.StreamRaw(shard), from: 1, to: to}) {
			a := askedOf{seq: m.seq}
			if err == nil {
				a.events, a.frame = eventsOf(m.header), m.header.Get(bus.HeaderFrame)
			}
			if !yield(a, err) {
				return
			}
		}
	}
}

// source is a sequence that can be looked at one ahead.
type source[T any] struct {
	next func() (T, error, bool)
	seq  func(T) uint64
	head T
	more bool
	err  error
}

func newSource[T any](from iter.Seq2[T, error], seq func(T) uint64) (*source[T], func()) {
	next, stop := iter.Pull2(from)
	s := &source[T]{next: next, seq: seq}
	s.advance()
	return s, stop
}

func (s *source[T]) advance() {
	s.head, s.err, s.more = s.next()
	if s.err != nil {
		s.more = false
	}
}

// lowest is the sequence at the head, or the one given if that is lower or there is no head.
func (s *source[T]) lowest(than uint64) uint64 {
	if s.more {
		return min(than, s.seq(s.head))
	}
	return than
}

// at takes the head if it is of the frame seq.
func (s *source[T]) at(seq uint64) (item T, ok bool) {
	if !s.more || s.seq(s.head) != seq {
		return item, false
	}
	item = s.head
	s.advance()
	return item, true
}

// comparison goes through the frames of a shard and compares all that is known of each, then of each range of the
// ledger's history, then of what is older than that. What a frame explains is not reported again for its range.
type comparison struct {
	s        *Service
	shard    int
	proven   uint64
	history  history
	findings *findings

	next       int // index into history.proofs
	sum        sums
	framesFrom uint64 // the first frame with a verdict
	lastAnswer uint64
	lastAsked  uint64
	lost       uint64 // frames that are lost by their verdict since lastAsked
}

// sums are of the frames of one range.
type sums struct {
	frames   uint64     // that have a verdict
	expected bus.Totals // what there should be of them
	// found of the frames that have none
	otherRows, otherDead uint64
}

// run compares frames 1..proven.
func (c *comparison) run(ctx context.Context, onTheWay []letter, progress func(done uint64)) error {
	rows, stop := newSource(c.s.rowsIn(ctx, c.shard, c.proven), func(r rowsOf) uint64 { return r.seq })
	defer stop()
	dead, stop := newSource(c.s.deadIn(ctx, c.shard, c.proven, onTheWay), func(d deadOf) uint64 { return d.seq })
	defer stop()
	answers, stop := newSource(c.s.answersIn(ctx, c.shard, c.proven), func(a answerOf) uint64 { return a.seq })
	defer stop()
	asked, stop := newSource(c.s.askedIn(ctx, c.shard, c.proven), func(a askedOf) uint64 { return a.seq })
	defer stop()

	for n := 0; ; n++ {
		const end = ^uint64(0)
		if err := cmp.Or(rows.err, dead.err, answers.err, asked.err); err != nil {
			return err
		}
		seq := asked.lowest(answers.lowest(dead.lowest(rows.lowest(end))))
		if seq == end {
			break
		}
		for c.next < len(c.history.proofs) && seq > c.history.proofs[c.next].last {
			c.closeRange()
		}
		r, _ := rows.at(seq)
		d, _ := dead.at(seq)
		a, answered := answers.at(seq)
		q, held := asked.at(seq)
		if answered {
			if err := c.hole(ctx, &c.lastAnswer, seq, c.s.names.StreamEnriched(c.shard), 0); err != nil {
				return err
			}
		}
		if held {
			if err := c.hole(ctx, &c.lastAsked, seq, c.s.names.StreamRaw(c.shard), c.lost); err != nil {
				return err
			}
			c.lost = 0
		}
		c.frame(seq, r, d, a, answered && c.readable(a), q, held)
		if n%10_000 == 0 {
			progress(seq)
		}
	}
	if c.lastAnswer > 0 && c.lastAnswer < c.proven { // the last frame that is proven is never trimmed
		if err := c.hole(ctx, &c.lastAnswer, c.proven+1, c.s.names.StreamEnriched(c.shard), 0); err != nil {
			return err
		}
	}
	for c.next < len(c.history.proofs) {
		c.closeRange()
	}
	return nil
}

func (c *comparison) readable(a answerOf) bool {
	if a.damage != nil {
		c.findings.add(KindVerdict, a.seq, a.seq, 0, 0, fmt.Sprintf("the headers of a frame of ENRICHED cannot be read: %v", a.damage))
	}
	return a.damage == nil
}

// hole notes that a stream lacks the frames between the last one read and seq, unless they were trimmed meanwhile or are
// accounted for.
func (c *comparison) hole(ctx context.Context, last *uint64, seq uint64, stream string, accounted uint64) error {
	before := *last
	*last = seq
	if before == 0 || seq <= before+1 || seq-before-1 <= accounted {
		return nil
	}
	info, err := c.s.streamInfo(ctx, stream)
	if err != nil {
		return err
	}
	if info.State.FirstSeq > before {
		return nil // trimming went past the place while it was read
	}
	c.findings.add(KindHole, before+1, seq-1, seq-before-1, 0, stream+" lacks frames between others")
	return nil
}

// frame compares what is known of one frame.
func (c *comparison) frame(seq uint64, r rowsOf, d deadOf, a answerOf, answered bool, q askedOf, held bool) {
	if r.rows > r.distinct {
		c.findings.add(KindDoubled, seq, seq, r.distinct, r.rows, "rows are in ClickHouse more than once")
	}
	if !answered {
		c.sum.otherRows += r.distinct
		c.sum.otherDead += d.all
		return
	}
	if c.framesFrom == 0 {
		c.framesFrom = seq
	}
	v := a.verdict
	have := bus.Totals{In: uint64(v.In), Rows: uint64(v.Rows), Dead: uint64(v.Dead()), Repeats: uint64(v.Repeats)}
	if have.In != have.Rows+have.Dead+have.Repeats {
		c.findings.add(KindVerdict, seq, seq, have.In, have.Rows+have.Dead+have.Repeats, "a verdict's parts do not make its sum")
	}
	late := d.late
	if i := c.next; i < len(c.history.proofs) && !c.history.proofs[i].oldest {
		late = c.history.proofs[i].refused[seq] // the ledger names them, whether or not they are there
	}
	want := bus.Totals{In: have.In, Rows: have.Rows - min(late, have.Rows), Dead: have.Dead + late, Repeats: have.Repeats}
	c.sum.frames++
	c.sum.expected = c.sum.expected.Plus(want)
	c.judge(seq, seq, want.Rows, r.distinct, want.Dead, d.all)
	if r.rows > 0 && uint64(r.highest) >= have.In {
		c.findings.add(KindSurplus, seq, seq, have.In, uint64(r.highest)+1, "a row's index is beyond the events of its frame")
	}
	if v.Lost {
		c.lost++
		c.findings.add(KindLost, seq, seq, 1, 0, "the frame was gone from RAW before the enricher read it")
	} else if held {
		if q.events != have.In {
			c.findings.add(KindVerdict, seq, seq, q.events, have.In, "the frame in RAW and its verdict count different events")
		}
		if q.frame != a.frame {
			c.findings.add(KindForeign, seq, seq, 1, 0, "the frame of ENRICHED answers another frame than RAW holds")
		}
	}
}

// judge reports rows and dead letters that are too few or too many.
func (c *comparison) judge(first, last, wantRows, rows, wantDead, dead uint64) {
	switch {
	case rows < wantRows:
		c.findings.add(KindMissing, first, last, wantRows, rows, "rows are missing in ClickHouse")
	case rows > wantRows:
		c.findings.add(KindSurplus, first, last, wantRows, rows, "ClickHouse has rows that no verdict counts")
	}
	switch {
	case dead < wantDead:
		c.findings.add(KindDeadMissing, first, last, wantDead, dead, "dead letters are neither in ClickHouse nor on the way there")
	case dead > wantDead:
		c.findings.add(KindDeadSurplus, first, last, wantDead, dead, "there are dead letters that no verdict counts")
	}
}

// closeRange compares the sums of a range of frames with what the ledger counts for it. Frames with a verdict were
// compared one by one; what is left of the ledger's count belongs to the others.
func (c *comparison) closeRange() {
	p, s := c.history.proofs[c.next], c.sum
	c.next, c.sum = c.next+1, sums{}
	if s.frames == p.last-p.first+1 {
		if s.expected != p.totals {
			c.findings.add(KindTotals, p.first, p.last, p.totals.In, s.expected.In, fmt.Sprintf(
				"the ledger counts %+v for these frames, their verdicts %+v", p.totals, s.expected))
		}
		return
	}
	if p.totals.Rows < s.expected.Rows || p.totals.Dead < s.expected.Dead {
		c.findings.add(KindTotals, p.first, p.last, p.totals.In, s.expected.In, fmt.Sprintf(
			"the ledger counts %+v for these frames, the verdicts of only some of them %+v", p.totals, s.expected))
		return
	}
	last := p.last
	if c.framesFrom > p.first && c.framesFrom <= p.last {
		last = c.framesFrom - 1
	}
	c.judge(p.first, last, p.totals.Rows-s.expected.Rows, s.otherRows, p.totals.Dead-s.expected.Dead, s.otherDead)
}
