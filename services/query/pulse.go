package query

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/svc"
	"github.com/millrace/millrace/services/query/reader"
)

const (
	pulseEvery   = time.Second
	pulseTimeout = 3 * time.Second
	// giveUpAfter is for how long ClickHouse may answer nothing at all before questions that it works on are given up. It
	// is no bound on a question: as long as it answers pings, it works.
	giveUpAfter = 10 * time.Second
)

// pulse asks ClickHouse every second whether it is there, by its /ping, which costs no query. Without it, a question to a
// ClickHouse that hangs would wait for as long as a question may take.
type pulse struct {
	db *reader.Client

	mu     sync.Mutex                      // guards all below
	why    error                           // of the last ping
	since  time.Time                       // of the silence
	asking map[int]context.CancelCauseFunc // of the questions that ClickHouse works on
	asked  int                             // numbers them
}

func newPulse(db *reader.Client) *pulse {
	return &pulse{db: db, asking: map[int]context.CancelCauseFunc{}}
}

func (p *pulse) run(ctx context.Context) error {
	tick := time.NewTicker(pulseEvery)
	defer tick.Stop()
	for {
		began := time.Now()
		p.note(p.ask(ctx), began)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// ask is nil when anything at all answers: what it says is for the questions.
func (p *pulse) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pulseTimeout)
	defer cancel()
	return p.db.Pulse(ctx)
}

// note takes in the outcome of a ping that began at a time.
func (p *pulse) note(err error, began time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.why, p.since = nil, time.Time{}
		return
	}
	if p.why == nil {
		p.since = began
	}
	p.why = err
	if silent := time.Since(p.since); silent >= giveUpAfter {
		for _, giveUp := range p.asking {
			giveUp(fmt.Errorf("ClickHouse: %w: it has given no sign of life for %s", ErrUnavailable, silent.Round(time.Second)))
		}
		clear(p.asking)
	}
}

// condition is that of ClickHouse as it can be seen from here.
func (p *pulse) condition() Condition {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.why == nil || time.Since(p.since) < svc.LanePatience {
		return Condition{State: StateOK}
	}
	return Condition{State: StateStuck, Reason: bus.StuckAway, Why: "ClickHouse does not answer: " + p.why.Error(), Since: p.since.UTC()}
}

// question bounds a question by ClickHouse's life. It is refused at once while there is none.
func (p *pulse) question(ctx context.Context) (context.Context, context.CancelFunc, error) {
	if c := p.condition(); c.State != StateOK {
		return nil, nil, fmt.Errorf("ClickHouse: %w: %w", ErrUnavailable, errors.New(c.Why))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	id := p.asked
	p.asking[id] = cancel
	return ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.asking, id)
		cancel(nil)
	}, nil
}
