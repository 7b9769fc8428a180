package recovery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
)

// run is one look, and what is done after it.
type run struct {
	cfg   Config
	names bus.Names
	js    jetstream.JetStream
	nc    *nats.Conn
	table *table

	inst     bus.Installation // as found; incarnation 0 when no stream tells
	streams  map[string]*jetstream.StreamInfo
	shards   []*shard
	dead     map[int]map[letterPlace]deadMessage // what DEAD holds, by shard
	in       InReport
	problems []string
	told     []string // of them, by what the streams say of themselves
	// moves: one of the problems is mended by a new incarnation only.
	moves bool
	// marked: a recovery has shut the streams.
	marked bool
	// written: a decision is, or may be.
	written bool
	// alive is when the last sign of life of a service can have been.
	alive time.Time
	at    time.Time
}

// deadMessage is a dead letter in DEAD.
type deadMessage struct {
	stage string
	acked bool // as being in ClickHouse
}

// shard is what is known of one shard.
type shard struct {
	id            int
	rep           ShardReport
	share         bus.Share
	hasLedger     bool
	excluded      map[bus.Place]map[uint32]string // rows that became dead letters, by the ledger, and why
	raw, enriched *jetstream.StreamInfo
	// foreign: the streams are of another life than the ledger, so that their
	// numbers mean nothing in ClickHouse.
	foreign bool
	// suspect: RAW may hold frames that are new under old numbers.
	suspect bool
	// short: ClickHouse has fewer rows of proven frames than the ledger.
	short   bool
	deadOut uint64 // up to here all dead letters were out

	// mends: only what was proven is brought back; the indexer and the enricher
	// go on with the rest under the old numbers.
	mends bool
	// moves: something is wrong that only a new incarnation mends.
	moves bool

	found      counted
	deadHeld   uint64       // dead letters that DEAD holds and ClickHouse lacks
	deadAcked  uint64       // of them, that were acknowledged
	lettersLow uint64       // of proven frames, that ClickHouse lacks and can be made
	salvaged   map[key]bool // of frames that had been proven
	unknown    *gaps
	free       uint64 // the next number for rows whose place is taken
	bad        map[string]int
}

// problem is one that only a new incarnation mends.
func (s *shard) problem(format string, args ...any) {
	s.moves = true
	s.say(format, args...)
}

func (s *shard) say(format string, args ...any) {
	s.rep.Problems = append(s.rep.Problems, fmt.Sprintf(format, args...))
}

// problem is one of no single shard that only a new incarnation mends.
func (r *run) problem(format string, args ...any) {
	r.moves = true
	r.problems = append(r.problems, fmt.Sprintf(format, args...))
}

// note counts problems of single frames.
func (s *shard) note(what string) { s.bad[what]++ }

// look fills in what is known of every shard.
func (r *run) look(ctx context.Context) error {
	if missing := r.table.missing(); missing != "" {
		r.problems = append(r.problems, "ClickHouse has no "+missing+": the database is an empty one, or gone")
	}
	for _, name := range []string{r.names.StreamIn(), r.names.StreamLedger(), r.names.StreamDead()} {
		r.checkStream(name)
	}
	if err := r.lookAtIn(ctx); err != nil {
		return err
	}
	if err := r.lookAtDead(ctx); err != nil {
		return err
	}
	r.shards = nil
	for id := range r.inst.Shards {
		s := &shard{id: id, salvaged: map[key]bool{}, excluded: map[bus.Place]map[uint32]string{}, bad: map[string]int{}}
		s.rep.Shard, s.rep.Problems = id, []string{}
		if err := r.lookAt(ctx, s); err != nil {
			return fmt.Errorf("shard %d: %w", id, err)
		}
		r.shards = append(r.shards, s)
	}
	return nil
}

func (r *run) checkStream(name string) {
	i := r.streams[name]
	switch {
	case i == nil:
		r.problem("stream %s does not exist", name)
	case r.inst.Incarnation != 0 && bus.IncarnationOf(i.Config) != r.inst.Incarnation:
		r.problem("stream %s is of incarnation %d, the installation of %d", name, bus.IncarnationOf(i.Config), r.inst.Incarnation)
	}
}

func (r *run) lookAtIn(ctx context.Context) error {
	i := r.streams[r.names.StreamIn()]
	r.in = InReport{Extent: extent(i)}
	if i == nil {
		return nil
	}
	c, err := r.js.Consumer(ctx, r.names.StreamIn(), r.names.DurableIngester())
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		r.in.Waiting = i.State.Msgs
		r.problem("the ingesters' place in %s is gone", r.names.StreamIn())
		return nil
	}
	if err != nil {
		return fmt.Errorf("look up the consumer of %s: %w", r.names.StreamIn(), err)
	}
	ci := c.CachedInfo()
	r.in.Acknowledged, r.in.Waiting = ci.AckFloor.Stream, ci.NumPending+uint64(ci.NumAckPending)
	if max(ci.AckFloor.Stream, ci.Delivered.Stream) > i.State.LastSeq {
		r.problem("%s ends at %d, the ingesters have read to %d: new messages would not be delivered",
			r.names.StreamIn(), i.State.LastSeq, max(ci.AckFloor.Stream, ci.Delivered.Stream))
	}
	return nil
}

// lookAtDead lists what DEAD holds.
func (r *run) lookAtDead(ctx context.Context) error {
	r.dead = map[int]map[letterPlace]deadMessage{}
	floor := uint64(0)
	i := r.streams[r.names.StreamDead()]
	if i == nil {
		return nil
	}
	c, err := r.js.Consumer(ctx, r.names.StreamDead(), r.names.DurableDeadLetters())
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		r.problem("the indexers' place in %s is gone", r.names.StreamDead())
	case err != nil:
		return fmt.Errorf("look up the consumer of %s: %w", r.names.StreamDead(), err)
	default:
		floor = c.CachedInfo().AckFloor.Stream
		if d := max(floor, c.CachedInfo().Delivered.Stream); d > i.State.LastSeq {
			r.problem("%s ends at %d, the indexers have read to %d: new dead letters would not be delivered", r.names.StreamDead(), i.State.LastSeq, d)
		}
	}
	for m, err := range each(ctx, r.js, r.names.StreamDead(), "", 1) {
		if err != nil {
			return err
		}
		d, err := bus.ParseDeadLetter(m.header, nil)
		if err != nil {
			continue // it is none, and was never brought to ClickHouse
		}
		if r.dead[d.Shard] == nil {
			r.dead[d.Shard] = map[letterPlace]deadMessage{}
		}
		r.dead[d.Shard][letterPlace{d.Incarnation, d.Seq, uint32(d.Idx)}] = deadMessage{d.Stage, m.seq <= floor}
	}
	return nil
}

// lookAt compares the ends of one shard's logs.
func (r *run) lookAt(ctx context.Context, s *shard) error {
	if err := r.readLedger(ctx, s); err != nil {
		return err
	}
	s.raw, s.enriched = r.streams[r.names.StreamRaw(s.id)], r.streams[r.names.StreamEnriched(s.id)]
	rep := &s.rep
	rep.Raw, rep.Enriched = extent(s.raw), extent(s.enriched)
	rep.Proven, rep.Known, rep.Totals, rep.LedgerIncarnation = s.share.Proven, s.share.Known(), s.share.Totals, s.share.Incarnation
	var err error
	if s.found, err = r.table.count(ctx, s.id, rep.Proven); err != nil {
		return err
	}
	c := s.found
	rep.Rows, rep.Doubled, rep.RowsTo, rep.Dead, rep.DeadTo = c.distinct, c.rows-c.distinct, c.highest, c.dead, c.deadHighest
	rep.Highest = max(rep.Raw.Last, rep.Enriched.Last, rep.Known, c.highest, c.deadHighest)

	for name, i := range map[string]*jetstream.StreamInfo{"RAW": s.raw, "ENRICHED": s.enriched} {
		if i == nil {
			s.problem("%s does not exist", name)
		} else if inc := bus.IncarnationOf(i.Config); inc != r.inst.Incarnation {
			s.problem("%s is of incarnation %d, the installation of %d", name, inc, r.inst.Incarnation)
		}
	}
	switch {
	case s.hasLedger && s.share.Incarnation != r.inst.Incarnation:
		s.foreign = true
		s.problem("the ledger is of incarnation %d, the streams are of %d", s.share.Incarnation, r.inst.Incarnation)
	case !s.hasLedger && (c.highest > 0 || rep.Enriched.First > 1):
		s.problem("the ledger has no record, although frames were proven")
	}
	if rep.Raw.Last < rep.Enriched.Last {
		s.problem("RAW ends at %d, ENRICHED at %d: RAW lost its end", rep.Raw.Last, rep.Enriched.Last)
	}
	if rep.Enriched.Last < rep.Known {
		s.problem("ENRICHED ends at %d, the ledger knows frame %d: ENRICHED lost its end", rep.Enriched.Last, rep.Known)
	}
	if next := rep.Proven + 1; !s.foreign && next < rep.Enriched.First && next <= rep.Enriched.Last {
		s.problem("proven are frames up to %d, ENRICHED begins at %d: the frames between were cut away, or the ledger went back", rep.Proven, rep.Enriched.First)
	}
	if c.highest > rep.Known {
		s.problem("ClickHouse has rows of frame %d, the ledger knows frames up to %d", c.highest, rep.Known)
	}
	if rep.Doubled > 0 {
		s.say("%d rows are in ClickHouse more than once; a recovery removes nothing; docs/recovery.md says how to find and delete them", rep.Doubled)
	}
	if s.hasLedger && c.low > rep.Totals.Rows {
		s.say("ClickHouse has %d rows of proven frames, the ledger counts %d; a recovery removes nothing", c.low, rep.Totals.Rows)
	}
	s.short = s.hasLedger && c.low < rep.Totals.Rows
	if s.short {
		s.say("ClickHouse has %d rows of proven frames, the ledger counts %d: ClickHouse lost rows, is an older one, or rows were deleted", c.low, rep.Totals.Rows)
	}
	if err := r.deadLacking(ctx, s); err != nil {
		return err
	}
	same, err := r.sameEnd(ctx, s)
	if err != nil {
		return err
	}
	s.suspect = !same || s.foreign || s.raw == nil || rep.Raw.Last < max(rep.Enriched.Last, rep.Known)
	s.free = rep.Highest + 1
	s.unknown = &gaps{from: rep.Proven + 1}
	return nil
}

// deadLacking counts the dead letters that DEAD holds and ClickHouse lacks.
func (r *run) deadLacking(ctx context.Context, s *shard) error {
	held := r.dead[s.id]
	if len(held) == 0 {
		return nil
	}
	first, last := ^uint64(0), uint64(0)
	for p := range held {
		first, last = min(first, p.seq), max(last, p.seq)
	}
	have, err := r.table.lettersOf(ctx, s.id, first, last)
	if err != nil {
		return err
	}
	for p, m := range held {
		if _, ok := have[p]; ok {
			continue
		}
		s.deadHeld++
		if p.seq <= s.rep.Proven {
			s.found.deadLow++ // it will be there
		}
		if m.acked {
			s.deadAcked++
		}
	}
	if s.deadAcked > 0 {
		s.say("ClickHouse lacks %d dead letters that it had: ClickHouse lost them or is an older one", s.deadAcked)
	}
	s.rep.Highest = max(s.rep.Highest, last)
	return nil
}

// readLedger reads what the sink's records say of the shard.
func (r *run) readLedger(ctx context.Context, s *shard) error {
	sink := r.inst.SinkOf(s.id)
	for m, err := range each(ctx, r.js, r.names.StreamLedger(), r.names.Ledger(sink), 1) {
		if err != nil {
			return err
		}
		rec, err := bus.DecodeRecord(m.data)
		if err != nil {
			s.problem("ledger record %d cannot be read", m.seq)
			continue
		}
		rec.Revision = m.seq
		s.share, s.hasLedger = rec.Share(s.id), true
		for _, x := range s.share.Excluded {
			p := bus.Place{Shard: x.Shard, Seq: x.Seq}
			if s.excluded[p] == nil {
				s.excluded[p] = map[uint32]string{}
			}
			why := "ClickHouse refused the row"
			if x.Why < len(rec.Open.Whys) {
				why = rec.Open.Whys[x.Why]
			}
			s.excluded[p][x.Idx] = why
		}
	}
	return nil
}

// sameEnd says whether ENRICHED's last frame answers the message that RAW
// holds there, as far as it can be told.
func (r *run) sameEnd(ctx context.Context, s *shard) (bool, error) {
	if s.raw == nil || s.enriched == nil || s.enriched.State.Msgs == 0 {
		return true, nil
	}
	get := func(stream string, seq uint64) (*jetstream.RawStreamMsg, error) {
		st, err := r.js.Stream(ctx, stream)
		if err != nil {
			return nil, err
		}
		msg, err := st.GetMsg(ctx, seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil, nil
		}
		return msg, err
	}
	seq := s.enriched.State.LastSeq
	answer, err := get(r.names.StreamEnriched(s.id), seq)
	if err != nil || answer == nil {
		return err == nil, err
	}
	var c frame.Checkpoint
	if err := frame.Decode(answer.Header.Get(bus.HeaderCheckpoint), &c); err != nil {
		s.problem("ENRICHED's last frame %d has no checkpoint that can be read", seq)
		return false, nil
	}
	s.deadOut = c.DeadOut
	question, err := get(r.names.StreamRaw(s.id), seq)
	if err != nil || question == nil {
		return err == nil, err
	}
	if id := question.Header.Get(bus.HeaderFrame); id != c.Frame {
		s.problem("RAW holds frame %q at %d, ENRICHED answers %q there: RAW was rewritten", id, seq, c.Frame)
		return false, nil
	}
	return true, nil
}

// gaps collects numbers of which nothing is known.
type gaps struct {
	from   uint64
	count  uint64
	ranges [][2]uint64
}

// mostRanges are listed; the last one then reaches to the end.
const mostRanges = 20

// seen says that there is something of a frame; frames come in order.
func (g *gaps) seen(seq uint64) {
	if seq > g.from {
		g.count += seq - g.from
		if len(g.ranges) == mostRanges {
			g.ranges[mostRanges-1][1] = seq - 1
		} else {
			g.ranges = append(g.ranges, [2]uint64{g.from, seq - 1})
		}
	}
	g.from = max(g.from, seq+1)
}
