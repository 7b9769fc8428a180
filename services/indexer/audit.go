package indexer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/svc"
)

// An audit counts again what was proven lately. ClickHouse that lost its power,
// or whose files were touched while it was down, may come up without parts that
// it had acknowledged, and with or without their tokens. So whenever it has been
// started anew the ranges that the ledger announced before that are counted,
// beside the normal flow, and rows that are missing are inserted again from
// ENRICHED. A new owner does not know whether that was done, and does it too.
//
// The sink's committer works on the same table, never on the same frames: an
// audit counts and sends those that the ledger calls proven, the committer those
// that come after.
const (
	// auditEvery is how often it is asked when ClickHouse was started, and the
	// first delay of an audit that failed, which grows up to auditLater.
	auditEvery = 5 * time.Second
	auditLater = time.Minute
	// holdTrim is for how long nothing is trimmed while an audit does not come to
	// its end: a full stream would be worse.
	holdTrim = time.Minute
	// startSlack is by how much two answers about the same start may differ,
	// which are made of whole seconds. No audit begins before ClickHouse has run
	// for startRuns: one that is started again later is then told apart.
	startSlack = 1
	startRuns  = 3 * time.Second
)

// start is one start of a ClickHouse server.
type start struct {
	at    uint64        // in the server's seconds since 1970
	up    time.Duration // for how long it has run
	began time.Time     // at by the server's clock or by ours, the later one
}

func (s start) is(at uint64) bool { return max(at, s.at)-min(at, s.at) <= startSlack }

// auditor audits one sink. One goroutine uses it.
type auditor struct {
	s     *sink
	t     *table
	seen  []uint64 // starts that were audited: there may be several servers
	round *round   // of a start that was not, nil for none
	lines svc.Repeated
}

// round is the audit of one start, which may take several tries.
type round struct {
	start start
	since time.Time // the first look
	next  time.Time // no try before
	pause time.Duration

	from    uint64          // the ledger's revision up to which it is done, 0 before the first try
	owed    *bus.Record     // the newest record at the first try
	told    map[string]bool // ranges that were found wrong; true: there is nothing more to do
	counted int             // ranges
	doubled int             // ranges
	missing uint64          // rows
	gone    uint64          // rows
}

// audits looks for a new start of ClickHouse until ctx is done, or another owner
// has written the ledger.
func (s *sink) audits(ctx context.Context) error {
	t := s.dial()
	defer t.close()
	tick := time.NewTicker(auditEvery)
	defer tick.Stop()
	a := auditor{s: s, t: t}
	for {
		if err := a.look(ctx); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// look asks when ClickHouse was started, and audits if that is new. An error
// ends the sink.
func (a *auditor) look(ctx context.Context) error {
	now, err := a.t.Started(ctx)
	if err != nil { // the connection may be to the server before
		now, err = a.t.Started(ctx)
	}
	if err != nil {
		// The committer tells that ClickHouse is away.
		a.s.log.Debug("ClickHouse does not say when it was started", "err", err)
		a.hold()
		return ctx.Err()
	}
	if slices.ContainsFunc(a.seen, now.is) {
		a.round = nil
		a.hold()
		return nil
	}
	if a.round == nil || !now.is(a.round.start.at) {
		a.round = &round{start: now, since: time.Now(), pause: auditEvery, told: map[string]bool{}}
	}
	a.hold()
	if now.up < startRuns || time.Now().Before(a.round.next) {
		return nil
	}
	whole, err := a.try(ctx)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, bus.ErrFenced):
		return err
	case err != nil:
		a.failed(err)
	case whole:
		a.done()
	}
	return nil
}

// hold says whether trimming waits.
func (a *auditor) hold() {
	a.s.auditing.Store(a.round != nil && time.Since(a.round.since) < holdTrim)
}

func (a *auditor) failed(err error) {
	a.s.metrics.audits.WithLabelValues("failed").Inc()
	a.round.next = time.Now().Add(a.round.pause)
	if times, due := a.lines.Again(); due {
		a.s.log.Warn("counting what was proven lately has failed and is tried again", "times", times, "delay", a.round.pause.String(), "err", err)
	}
	a.round.pause = min(2*a.round.pause, auditLater)
}

func (a *auditor) done() {
	r := a.round
	a.seen = append(a.seen[max(0, len(a.seen)-15):], r.start.at)
	a.round = nil
	a.hold()
	if times, lasted, was := a.lines.Over(); was {
		a.s.log.Info("counting what was proven lately has come to its end", "times", times, "after", lasted.String())
	}
	if r.missing > r.gone {
		a.s.log.Warn("rows that ClickHouse had lost are there again", "rows", r.missing-r.gone)
	}
	switch outcome := a.s.metrics.audits; {
	case r.gone > 0:
		outcome.WithLabelValues("gone").Inc() // verify names the frames
	case r.doubled > 0:
		outcome.WithLabelValues("doubled").Inc()
	case r.missing > 0:
		outcome.WithLabelValues("repaired").Inc()
	case r.counted > 0:
		outcome.WithLabelValues("ok").Inc()
		a.s.log.Debug("what was proven lately is there", "ranges", r.counted)
	}
}

// try counts the ranges of the round that were not yet counted, and repairs
// what is missing of them. It is whole once nothing is left that may have come
// in before the start: the block that was open at the first try may be one that
// ClickHouse has acknowledged, and then lost before the ledger called it proven.
func (a *auditor) try(ctx context.Context) (whole bool, err error) {
	r := a.round
	switch engine, err := a.t.Engine(ctx); {
	case err != nil:
		return false, err
	case replicated(engine):
		// Any replica may answer, and what one lacks for a while another has: to
		// send that again, under a token of its own, would double it.
		a.s.log.Debug("what was proven lately is not counted again: the table is replicated", "engine", engine)
		return true, nil
	}
	newest, err := a.s.newest(ctx)
	if err != nil {
		return false, err
	}
	if r.owed == nil {
		r.owed = &newest
		r.from = newest.Revision - min(newest.Revision-1, auditRecords*uint64(a.s.inst.Sinks))
	}
	list, err := a.s.between(ctx, r.from, &newest)
	if err != nil {
		return false, err
	}
	if err := a.count(ctx, announced(list, r.start.began.Add(auditSkew))); err != nil {
		return false, err
	}
	r.from = newest.Revision
	for _, p := range newest.Shards {
		if share := r.owed.Share(p.Shard); p.Proven < share.Known() {
			return false, nil
		}
	}
	return true, nil
}

// count compares the ranges with what ClickHouse has. More rows than were sent
// are told, fewer are inserted again.
func (a *auditor) count(ctx context.Context, list []audited) error {
	var lost, doubled []audited
	for _, sh := range a.s.shards {
		for part := range questions(list, sh.id) {
			have, err := a.t.CountEach(ctx, part)
			if err != nil {
				return err
			}
			for i := range part {
				x := &part[i]
				x.have = have[x.First]
				switch {
				case a.round.told[x.name()]:
				case x.have > x.Totals.Rows:
					doubled = append(doubled, *x)
				case x.have < x.Totals.Rows:
					lost = append(lost, *x)
				}
			}
		}
	}
	a.surplus(doubled)
	a.lack(lost)
	if err := a.repairs(ctx, lost); err != nil {
		return err
	}
	a.round.counted += len(list)
	return nil
}

// surplus tells of ranges with more rows than were sent. Nothing here does that
// and nothing here can mend it, so the sink goes on.
func (a *auditor) surplus(found []audited) {
	if len(found) == 0 {
		return
	}
	rows := uint64(0)
	for i := range found {
		a.round.told[found[i].name()] = true
		rows += found[i].have - found[i].Totals.Rows
	}
	a.round.doubled += len(found)
	a.s.metrics.doubled.Add(float64(len(found)))
	a.s.log.Error("ClickHouse holds more rows of blocks than it was sent; `millrace verify` names them",
		"rows", rows, "ranges", len(found), "frames", found[0].name())
}

// lack tells of ranges that miss rows, once.
func (a *auditor) lack(found []audited) {
	rows, ranges, frames := uint64(0), 0, ""
	for i := range found {
		x := &found[i]
		if _, old := a.round.told[x.name()]; old {
			continue
		}
		a.round.told[x.name()] = false
		if ranges++; ranges == 1 {
			frames = x.name()
		}
		rows += x.Totals.Rows - x.have
	}
	if ranges == 0 {
		return
	}
	a.round.missing += rows
	a.s.metrics.auditMissing.Add(float64(rows))
	a.s.log.Error("ClickHouse lost rows that it had acknowledged; they are inserted again", "rows", rows, "ranges", ranges, "frames", frames)
}

// repairs mends ranges. What is wrong with one shard does not keep those of
// others from it.
func (a *auditor) repairs(ctx context.Context, lost []audited) error {
	trouble := map[int]error{} // by shard; nil: it may be written
	var all []error
	for i := range lost {
		x := &lost[i]
		err, checked := trouble[x.Shard]
		if checked && err != nil {
			continue
		}
		if !checked {
			err = a.mayRepair(ctx, x.Shard)
		}
		if err == nil {
			err = a.repair(ctx, x)
		}
		switch trouble[x.Shard] = err; {
		case err == nil:
		case errors.Is(err, bus.ErrFenced), errors.Is(err, errNoAnswer), ctx.Err() != nil:
			return err
		default:
			all = append(all, fmt.Errorf("shard %d: %w", x.Shard, err))
		}
	}
	return errors.Join(all...)
}
