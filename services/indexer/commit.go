package indexer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/failpoint"
	"github.com/millrace/millrace/libs/svc"
)

// ErrDoubled says that ClickHouse holds more rows of a block than it was ever
// sent. Nothing here does that; the sink stays shut until somebody has looked.
var ErrDoubled = errors.New("indexer: ClickHouse holds more rows of a block than it was sent")

// freshIntent is how long an intent may wait for its insert without a further
// look at the ledger. A process that was paused longer may have been taken
// over, and so many blocks may have gone in since that ClickHouse no longer
// knows the token of this one.
const freshIntent = 10 * time.Second

// journal is the sink's ledger as the protocol sees it.
type journal interface {
	Append(ctx context.Context, rec *bus.Record, expect uint64) error
	// Newest is the revision of the sink's newest record, 0 for none.
	Newest(ctx context.Context) (revision uint64, err error)
}

// committer runs the protocol of one sink, one block at a time. last is the
// newest ledger record, and current tells that its open block is proven, which
// the next record will say.
type committer struct {
	store   store
	journal journal
	metrics *metrics
	log     *slog.Logger
	backoff func() delays
	// retried, if set, hears what is tried again, and nil when that has come to
	// its end, for status.
	retried func(err error)
	lines   svc.Repeated
	// bury publishes the dead letters of rows that ClickHouse refused.
	bury func(ctx context.Context, open *bus.Intent) error

	incarnation uint64
	sink        int
	owner       string
	last        bus.Record
	proven      bool
	// ours is when last was known to be the newest record, or a little before.
	ours time.Time
}

// delays yields growing pauses.
type delays interface {
	wait(ctx context.Context) error
}

// state is what the next record starts from: all that is proven. A further
// attempt at an open block starts from where the block itself did.
func (c *committer) state() []bus.Proof {
	if c.proven {
		return c.last.After()
	}
	return c.last.Shards
}

func (c *committer) append(ctx context.Context, open *bus.Intent) error {
	rec := bus.Record{
		Incarnation: c.incarnation, Sink: c.sink, Shards: c.state(),
		Open: open, Owner: c.owner, At: failpoint.Now().UTC(),
	}
	delays := c.backoff()
	for {
		asked := failpoint.Now()
		err := c.journal.Append(ctx, &rec, c.last.Revision)
		if err == nil {
			c.last, c.proven, c.ours = rec, false, asked
			return nil
		}
		if errors.Is(err, bus.ErrFenced) {
			c.metrics.fenced.Inc()
			return err
		}
		c.again("ledger", open, err)
		if err := delays.wait(ctx); err != nil {
			return err
		}
	}
}

// again counts a step that failed, and tells of it where that is due.
func (c *committer) again(step string, open *bus.Intent, err error) {
	c.metrics.retries.WithLabelValues(step).Inc()
	if c.retried != nil {
		c.retried(err)
	}
	if times, due := c.lines.Again(); due {
		what := ""
		if open != nil {
			what = frames(open)
		}
		c.log.Warn("a step of the block is retried", "step", step, "frames", what, "times", times, "err", err)
	}
}

// over notes that the steps of a block have succeeded, and tells of it if one
// of them had failed.
func (c *committer) over(open *bus.Intent) {
	times, lasted, was := c.lines.Over()
	if !was {
		return
	}
	if c.retried != nil {
		c.retried(nil)
	}
	c.log.Info("retrying has come to its end", "frames", frames(open), "times", times, "after", lasted.String())
}

// commit brings a block into ClickHouse: it returns nil only when its rows
// are proven to be there.
func (c *committer) commit(ctx context.Context, open *bus.Intent, rows *frame.Block) error {
	failpoint.At(failpoint.IndexerIntentBefore)
	if err := c.append(ctx, open); err != nil {
		return err
	}
	failpoint.At(failpoint.IndexerIntentAfter)
	return c.settle(ctx, rows, true)
}

// settle proves the open block of the newest record, whose rows are given.
// fresh says that its token was never sent: then, and only then, an answer of
// the server counts as proof.
func (c *committer) settle(ctx context.Context, rows *frame.Block, fresh bool) error {
	delays := c.backoff()
	for {
		done, err := c.try(ctx, rows, fresh)
		switch {
		case err == nil && done:
			c.proven = true
			c.over(c.last.Open)
			return nil
		case errors.Is(err, bus.ErrFenced), errors.Is(err, ErrDoubled), ctx.Err() != nil:
			return err
		case err != nil:
			c.again("insert", c.last.Open, err)
			if err := delays.wait(ctx); err != nil {
				return err
			}
		case c.last.Open.Attempt > 1:
			// One token without its rows is a kill at a bad moment. More say
			// that something takes the rows away, and that may go on.
			if err := delays.wait(ctx); err != nil {
				return err
			}
		}
		fresh = false
	}
}

// try is one round: insert, or after doubt count and insert what is missing.
// It may have changed the open intent (a further attempt, exclusions).
func (c *committer) try(ctx context.Context, rows *frame.Block, fresh bool) (done bool, err error) {
	open := c.last.Open
	want := open.Rows()
	if want == 0 {
		return true, c.bury(ctx, open)
	}
	all := without(rows, open.Excluded)
	if fresh && !c.stale() {
		err := c.store.Insert(ctx, all, c.last.Token())
		if err == nil {
			return true, nil
		}
		return false, c.refused(ctx, all, err)
	}
	if err := c.confirm(ctx); err != nil {
		return false, err
	}
	have, err := c.count(ctx, open)
	if err != nil {
		return false, err
	}
	send := all
	switch {
	case have == want:
		return true, c.bury(ctx, open)
	case have > want:
		c.metrics.doubled.Inc()
		return false, fmt.Errorf("%w: frames %s hold %d rows, sent were %d", ErrDoubled, frames(open), have, want)
	case have > 0:
		// One partition of two, or what an earlier token has brought in: that
		// stays, the rest goes in. ClickHouse need not know the token of what
		// is there.
		present, err := c.store.Present(ctx, open.Ranges)
		if err != nil {
			return false, err
		}
		send = absent(all, present)
	}
	c.metrics.repairs.Inc()
	c.log.Info("rows are missing after doubt and inserted again", "frames", frames(open), "have", have, "want", want, "attempt", open.Attempt)
	if err := c.confirm(ctx); err != nil { // counting may have taken long
		return false, err
	}
	if err := c.store.Insert(ctx, send, c.last.Token()); err != nil {
		return false, c.refused(ctx, send, err)
	}
	if have, err = c.count(ctx, open); err != nil {
		return false, err
	}
	if have < want {
		// The server said yes and stored nothing: it knows the token but lost
		// the rows. Only now is it safe to use another token, for this one
		// would swallow a late twin.
		c.metrics.orphans.Inc()
		c.log.Warn("ClickHouse knows the token of rows it does not have", "frames", frames(open), "have", have, "want", want)
		next := *open
		next.Attempt++
		failpoint.At(failpoint.IndexerAttemptBefore)
		err := c.append(ctx, &next)
		failpoint.At(failpoint.IndexerAttemptAfter)
		return false, err
	}
	return have == want, c.bury(ctx, open)
}

func (c *committer) count(ctx context.Context, open *bus.Intent) (uint64, error) {
	if err := failpoint.Error(failpoint.IndexerCountBefore); err != nil {
		return 0, err
	}
	have, err := c.store.Count(ctx, open.Ranges)
	if err != nil {
		return 0, err
	}
	return have, failpoint.Error(failpoint.IndexerCountAfter)
}

// stale says that too much time has gone by since the newest record was known
// to be ours, on the clock that stops with a suspended machine or on the other.
func (c *committer) stale() bool {
	now := failpoint.Now()
	wall := now.Round(0).Sub(c.ours.Round(0))
	return now.Sub(c.ours) > freshIntent || wall > freshIntent || wall < 0
}

// confirm asks the ledger after a pause whether nobody else has written it.
func (c *committer) confirm(ctx context.Context) error {
	if !c.stale() {
		return nil
	}
	asked := failpoint.Now()
	if err := failpoint.Error(failpoint.IndexerConfirmBefore); err != nil {
		return err
	}
	newest, err := c.journal.Newest(ctx)
	if err == nil {
		err = failpoint.Error(failpoint.IndexerConfirmAfter)
	}
	if err != nil {
		return err
	}
	if newest != c.last.Revision {
		c.metrics.fenced.Inc()
		return fmt.Errorf("%w: sink %d", bus.ErrFenced, c.sink)
	}
	c.ours = asked
	return nil
}

// close writes down that everything is proven, so that the watermark is in the
// ledger also when no further block comes.
func (c *committer) close(ctx context.Context) error {
	if c.last.Open == nil || !c.proven {
		return nil
	}
	open := c.last.Open
	failpoint.At(failpoint.IndexerProvenBefore)
	err := c.append(ctx, nil)
	failpoint.At(failpoint.IndexerProvenAfter)
	if err == nil {
		c.over(open) // no further block may come to say so
	}
	return err
}

// frames names a block's frames in log lines and errors, as shard:first-last.
func frames(open *bus.Intent) string {
	var text []byte
	for _, r := range open.Ranges {
		if len(text) > 0 {
			text = append(text, ' ')
		}
		text = fmt.Appendf(text, "%d:%d-%d", r.Shard, r.First, r.Last)
	}
	return string(text)
}
