package recovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
)

// decision is what is written down before anything is cut away.
type decision struct {
	Done   bool             `json:"done"`
	From   bus.Installation `json:"from"`
	To     bus.Installation `json:"to"`
	Report Report           `json:"report"`
	Shards []decidedShard   `json:"shards"`
	// RawSize is the least limit of RAW that what is appended fits into.
	RawSize int64 `json:"raw_size"`
}

// decidedShard is where a shard's streams go: RAW begins after Barrier with IDs
// frames of ids, which count as answered, and Events frames of events.
type decidedShard struct {
	Barrier   uint64        `json:"barrier"`
	IDs       uint64        `json:"ids"`
	Events    uint64        `json:"events"`
	Totals    bus.Totals    `json:"totals"`
	Recovered bus.Recovered `json:"recovered"`

	bytes int64   // of the events' frames
	ids   []int64 // the bytes of each frame of ids
}

func (d *decidedShard) proven() uint64 { return d.Barrier + d.IDs }

// decided is a decision that was not carried out to its end, nil for none.
func (r *run) decided(ctx context.Context) (*decision, error) {
	ctx, cancel := ask(ctx)
	defer cancel()
	s, err := r.js.Stream(ctx, r.names.StreamRecovery())
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil
	}
	var msg *jetstream.RawStreamMsg
	if err == nil {
		msg, err = s.GetLastMsgForSubject(ctx, r.names.RecoveryPlan())
	}
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	var d decision
	if err == nil {
		err = json.Unmarshal(msg.Data, &d)
	}
	if err != nil {
		return nil, fmt.Errorf("read what was decided in %s: %w", r.names.StreamRecovery(), err)
	}
	if d.Done {
		return nil, nil
	}
	return &d, nil
}

// Apply recovers and reports what was done. A run that was ended is taken up
// where it was.
func (v *Recovery) Apply(ctx context.Context) (Report, error) {
	r, err := open(ctx, v.cfg)
	if err != nil {
		return Report{}, err
	}
	defer r.close()
	d, err := r.decided(ctx)
	if err != nil {
		return Report{}, err
	}
	var before Report // a recovery that was done and had not said so
	if d != nil && r.reopened(d) {
		if before, err = r.finish(ctx, d); err != nil {
			return before, err
		}
		d = nil
	}
	if err := r.alone(ctx); err != nil {
		return before, err
	}
	if err := r.list(ctx); err != nil { // services may have stopped since
		return before, err
	}
	if d != nil {
		return r.carryOut(ctx, d)
	}
	rep, err := r.begin(ctx)
	if err == nil && rep.Healthy() && before.Applied {
		return before, nil
	}
	return rep, err
}

// begin shuts the streams before it looks, so that what it finds stays so, and
// opens them again unless something was decided. A kill leaves them shut.
func (r *run) begin(ctx context.Context) (rep Report, err error) {
	r.cfg.Progress("shut the streams")
	missing := r.streams[r.names.StreamRaw(0)] == nil
	if err := bus.Shut(ctx, r.js, r.inst, r.planOf(r.inst)); err != nil {
		return rep, err
	}
	defer func() {
		if !r.written {
			err = errors.Join(err, r.unshut(ctx, missing))
		}
	}()
	if err := r.list(ctx); err != nil {
		return rep, err
	}
	if missing { // it was made to be shut
		delete(r.streams, r.names.StreamRaw(0))
	}
	rep, err = r.plan(ctx)
	if err != nil || rep.Do == DoNothing {
		return rep, err
	}
	if err := r.quiet(ctx); err != nil {
		return rep, err
	}
	if r.table.none() {
		if r.cfg.Tables == nil {
			return rep, ErrNoTables
		}
		if err := r.cfg.Tables(ctx); err != nil {
			return rep, err
		}
		if err := r.table.find(ctx, false); err != nil {
			return rep, err
		}
		if m := r.table.missing(); m != "" { // its history says that it was made
			return rep, fmt.Errorf("ClickHouse still has no %s after a migration: bring it back from a copy, or make it as schemas/clickhouse does, then run this again", m)
		}
		before := r.problems
		if rep, err = r.plan(ctx); err != nil { // there may be rows that could not be seen
			return rep, err
		}
		rep.Problems = before // they tell why there were no tables
	}
	d, err := r.prepare(ctx, rep)
	if err != nil {
		return rep, err
	}
	if rep.Do != DoMove {
		if err := r.mended(ctx); err != nil {
			return rep, err
		}
		rep.Applied = true
		return r.keep(rep)
	}
	return r.carryOut(ctx, d)
}

// mended counts again after rows were brought back.
func (r *run) mended(ctx context.Context) error {
	for _, s := range r.shards {
		c, err := r.table.count(ctx, s.id, s.rep.Proven)
		if err != nil {
			return err
		}
		if s.hasLedger && c.low < s.rep.Totals.Rows {
			return fmt.Errorf("%w: shard %d has %d rows of proven frames, the ledger counts %d", ErrInserts, s.id, c.low, s.rep.Totals.Rows)
		}
	}
	return nil
}

// unshut opens the streams again when nothing was decided, also after an
// interrupt. A RAW_0 that was missing is missing again.
func (r *run) unshut(ctx context.Context, missing bool) error {
	ctx, cancel := ask(context.WithoutCancel(ctx))
	defer cancel()
	if !missing {
		return bus.Unshut(ctx, r.js, r.inst)
	}
	if err := r.js.DeleteStream(ctx, r.names.StreamRaw(0)); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("remove %s, which was made only to keep services out: %w", r.names.StreamRaw(0), err)
	}
	return bus.Unshut(ctx, r.js, r.inst)
}

// unchanged makes sure that nobody has written since the look.
func (r *run) unchanged(ctx context.Context) error {
	before := maps.Clone(r.streams)
	if err := r.list(ctx); err != nil {
		return err
	}
	names := []string{r.names.StreamLedger()}
	for id := range r.inst.Shards {
		names = append(names, r.names.StreamRaw(id), r.names.StreamEnriched(id))
	}
	for _, n := range names {
		was, is := before[n], r.streams[n]
		if was != nil && is != nil && was.State.LastSeq != is.State.LastSeq {
			return fmt.Errorf("%w: %s ended at %d, and now at %d", ErrRunning, n, was.State.LastSeq, is.State.LastSeq)
		}
	}
	return nil
}

// quiet waits until an insert that the ledger announced cannot be under way.
// The announcement may be old, for an insert is repeated for as long as it takes:
// the time counts from the last sign of life.
func (r *run) quiet(ctx context.Context) error {
	if r.cfg.Alone || !slices.ContainsFunc(r.shards, func(s *shard) bool { return s.share.Open != nil }) {
		return nil
	}
	left := time.Until(r.alive.Add(r.cfg.Quiet))
	if left <= 0 {
		return nil
	}
	r.cfg.Progress(fmt.Sprintf("waiting %s: an insert that was announced may still be under way", left.Round(time.Second)))
	return wait(ctx, left)
}

// prepare finishes what can be finished under the old numbers and copies what
// is to be appended. All of it may be done again.
func (r *run) prepare(ctx context.Context, rep Report) (*decision, error) {
	if err := r.drainDead(ctx); err != nil {
		return nil, err
	}
	d := &decision{From: r.inst, Report: rep}
	if rep.Do == DoMove {
		if err := r.clearCopies(ctx); err != nil {
			return nil, err
		}
		lastIn, err := r.lifeEnds(ctx)
		if err != nil {
			return nil, err
		}
		d.To = r.inst.Reborn(rep.Next, lastIn)
	}
	for _, s := range r.shards {
		var copies decidedShard
		s.mends = rep.Do == DoMend
		err := r.walk(ctx, s, func(o *outcome) error { return r.do(ctx, s, o, &copies, rep.Do == DoMove) })
		if err != nil {
			return nil, fmt.Errorf("shard %d: %w", s.id, err)
		}
		d.Shards = append(d.Shards, copies)
		r.cfg.Progress(fmt.Sprintf("shard %d: %d rows and %d dead letters brought in, %d events copied", s.id, s.rep.Insert+s.rep.Renumber, s.rep.Letters, s.rep.Again))
	}
	if rep.Do != DoMove {
		return d, nil
	}
	if err := r.copyIDs(ctx, d); err != nil {
		return nil, err
	}
	if err := r.makeRoom(ctx, d); err != nil {
		return nil, err
	}
	for i, s := range r.shards {
		if err := r.settle(ctx, s, &d.Shards[i], &d.Report.Shards[i]); err != nil {
			return nil, fmt.Errorf("shard %d: %w", s.id, err)
		}
	}
	if err := r.unchanged(ctx); err != nil {
		return nil, err
	}
	if err := r.cfg.fault("decide"); err != nil {
		return nil, err
	}
	r.written = true // or it may be, with an error
	return d, r.write(ctx, d)
}

// settle counts what is there now, and what is lost by it.
func (r *run) settle(ctx context.Context, s *shard, d *decidedShard, shown *ShardReport) error {
	c, err := r.table.count(ctx, s.id, s.rep.Proven)
	if err != nil {
		return err
	}
	rep := &s.rep
	lostRows := less(rep.Totals.Rows, c.low+rep.AgainProven)
	lostLetters := rep.LostLetters + less(rep.Totals.Dead, c.deadLow)
	lost := lostRows + lostLetters
	d.Barrier = beyond(max(rep.Highest, s.free))
	t := bus.Totals{Rows: c.distinct, Dead: c.dead, Repeats: rep.Totals.Repeats + rep.repeats, Lost: rep.Totals.Lost + lost}
	t.In = t.Rows + t.Dead + t.Repeats + t.Lost
	d.Totals = t
	d.Recovered = bus.Recovered{
		Shard: s.id, From: r.inst.Incarnation, Before: rep.Proven, Highest: rep.Highest, Lost: lost, Again: rep.Again,
		Unknown: s.unknown.count,
	}
	if n := len(s.unknown.ranges); n > 0 {
		d.Recovered.UnknownFirst, d.Recovered.UnknownLast = s.unknown.ranges[0][0], s.unknown.ranges[n-1][1]
	}
	shown.Lost, shown.LostRows, shown.LostLetters, shown.Begins = lost, lostRows, lostLetters, d.proven()+1
	shown.Insert, shown.Again, shown.AgainFrames = rep.Insert, rep.Again, rep.AgainFrames
	return nil
}

// write writes a decision down.
func (r *run) write(ctx context.Context, d *decision) error {
	text, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("write down what is decided: %w", err)
	}
	if _, err := r.js.Publish(ctx, r.names.RecoveryPlan(), text); err != nil {
		return fmt.Errorf("write down what is decided: %w", err)
	}
	return nil
}

// keep writes the summary beside the installation.
//
// It comes last: an error of it says that all is done.
func (r *run) keep(rep Report) (Report, error) {
	id := rep.Next
	if id == 0 {
		id = uint64(rep.At.UnixMilli())
	}
	path, err := filepath.Abs(filepath.Join(r.cfg.Dir, "recovery-"+strconv.FormatUint(id, 10)+".json"))
	if err != nil {
		return rep, fmt.Errorf("everything is done, but the summary cannot be written: %w", err)
	}
	rep.File = path
	text, err := json.MarshalIndent(rep, "", "  ")
	if err == nil {
		err = os.WriteFile(path, append(text, '\n'), 0o600)
	}
	if err != nil {
		return rep, fmt.Errorf("everything is done, but the summary cannot be written; start the services, `millrace verify` tells the same: %w", err)
	}
	return rep, nil
}
