package indexer

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/testkit/explore"
)

// Protocols that are wrong must be caught, or the model sees nothing. Each is
// the right one but for one thing.

func TestTheModelCatchesTrustInTheTokenAlone(t *testing.T) {
	tokenOnly := func(c *committer, ctx context.Context, rows *frame.Block, _ bool) error {
		for c.store.Insert(ctx, rows, c.last.Token()) != nil {
		}
		c.proven = true
		return nil
	}
	(&scenario{pair: 1, lives: 2, budget: explore.Budget{fault: 1}, variant: variant{settle: tokenOnly}}).caught(t, "is proven, it is there 0 times")
}

func TestTheModelCatchesAnAnswerTakenAsProofAfterDoubt(t *testing.T) {
	alwaysFresh := func(c *committer, ctx context.Context, rows *frame.Block, _ bool) error {
		for {
			done, err := c.try(ctx, rows, true)
			c.proven = done
			if done || errors.Is(err, bus.ErrFenced) {
				return err
			}
		}
	}
	(&scenario{pair: 1, lives: 2, budget: explore.Budget{fault: 1}, variant: variant{settle: alwaysFresh}}).caught(t, "is proven, it is there 0 times")
}

func TestTheModelCatchesALedgerThatDoesNotFence(t *testing.T) {
	(&scenario{pair: 2, lives: 2, variant: variant{unfenced: true}}).caught(t, "ENRICHED is trimmed")
}

func TestTheModelCatchesAProofBeforeTheRows(t *testing.T) {
	ackFirst := func(c *committer, ctx context.Context, rows *frame.Block, fresh bool) error {
		_, _ = c.try(ctx, rows, fresh) // whatever came of it
		c.proven = true
		return nil
	}
	(&scenario{pair: 1, lives: 2, budget: explore.Budget{fault: 1}, variant: variant{settle: ackFirst}}).caught(t, "is proven, it is there 0 times")
}

// What one owner believes to be proven may be the orphan of another; only what
// the ledger has taken from it is.
func TestTheModelCatchesTrimmingBeforeTheProofIsWrittenDown(t *testing.T) {
	(&scenario{pair: 2, lives: 2, variant: variant{trimsEarly: true}}).caught(t, "ENRICHED is trimmed")
}

func TestTheModelCatchesAnIntentAfterTheInsert(t *testing.T) {
	intentAfter := func(c *committer, ctx context.Context, open *bus.Intent, rows *frame.Block) error {
		rec := c.last
		rec.Open = open
		if err := c.store.Insert(ctx, rows, rec.Token()); err != nil {
			return err
		}
		if err := c.append(ctx, open); err != nil {
			return err
		}
		c.proven = true
		return nil
	}
	(&scenario{pair: 1, lives: 2, budget: explore.Budget{fault: 1}, variant: variant{commit: intentAfter}}).caught(t, "is there twice")
}

func TestTheModelCatchesAFurtherAttemptWithoutAnOrphan(t *testing.T) {
	// Any error of an insert is taken for an orphan: the first insert may still
	// be on its way, and its token is another.
	eager := func(c *committer, ctx context.Context, rows *frame.Block, fresh bool) error {
		for {
			done, err := c.try(ctx, rows, fresh)
			fresh = false
			c.proven = done
			switch {
			case done, errors.Is(err, bus.ErrFenced), errors.Is(err, ErrDoubled):
				return err
			case err != nil:
				next := *c.last.Open
				next.Attempt++
				if err := c.append(ctx, &next); err != nil {
					return err
				}
			}
		}
	}
	(&scenario{pair: 1, lives: 2, budget: explore.Budget{fault: 2}, variant: variant{settle: eager}}).caught(t, "is there twice")
}

// unhurried is a store after whose calls, and before, the committer believes
// that no time has gone by.
type unhurried struct {
	store
	c *committer
}

func (u unhurried) Count(ctx context.Context, ranges []bus.Range) (uint64, error) {
	n, err := u.store.Count(ctx, ranges)
	u.c.ours = time.Now()
	return n, err
}

func TestTheModelCatchesAnOldIntentThatIsNotLookedAtAgain(t *testing.T) {
	neverStale := func(c *committer, ctx context.Context, rows *frame.Block, fresh bool) error {
		c.ours = time.Now()
		c.store = unhurried{c.store, c}
		return c.settle(ctx, rows, fresh)
	}
	(&scenario{pair: 2, lives: 2, window: 1, variant: variant{settle: neverStale}}).caught(t, "is there twice")
}

// The protocol's limit, and the reason for a window of thousands of blocks: an
// insert that was looked at and then travels, or whose process stands still
// between the look and the send, for longer than the window.
func TestTheModelShowsTheLimitOfTheWindow(t *testing.T) {
	(&scenario{pair: 2, lives: 2, window: 1, slowWire: true}).caught(t, "is there twice")
}
