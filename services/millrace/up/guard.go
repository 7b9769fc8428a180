package up

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/libs/svc"
)

// ErrOverBudget says that the door is closed because there is no room.
var ErrOverBudget = errors.New("no room")

const (
	guardEvery = 2 * time.Second
	// A tree of many files takes a while to count; then it is counted less
	// often, so that counting costs two percent of a core at most.
	guardCost = 50
	// The door opens again below this share of the budget, so that it does not
	// flap at the limit.
	reopenBelow = 0.97
	// keepFree is what must be left on the disk, for whoever else needs it and
	// for merges under way.
	keepFree = 256 << 20
)

// guard closes the door while the directory is over its budget or the disk is
// nearly full. What was taken already still finds its way: the streams have
// their own limits, which are part of the budget.
type guard struct {
	dir     string
	budget  int64
	log     *slog.Logger
	measure func() (used, free int64, err error)
	bytes   *prometheus.GaugeVec

	mu  sync.Mutex // guards why
	why error      // nil: the door is open
}

func newGuard(dir string, budget int64, log *slog.Logger, reg prometheus.Registerer, health *svc.Health) *guard {
	g := &guard{
		dir: dir, budget: budget, log: log,
		bytes: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "millrace_up_disk_bytes",
			Help: "Bytes that the data directory takes (used), may take (budget), and that the disk has left (free).",
		}, []string{"kind"}),
	}
	g.measure = func() (used, free int64, err error) {
		if used, err = diskUsed(dir); err == nil {
			free, err = diskFree(dir)
		}
		return used, free, err
	}
	reg.MustRegister(g.bytes)
	g.bytes.WithLabelValues("budget").Set(float64(budget))
	health.Register("disk", func(context.Context) error { return g.admit() })
	return g
}

// admit is the ingester's hook.
func (g *guard) admit() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.why
}

// Run watches the directory until ctx is done.
func (g *guard) Run(ctx context.Context) error {
	for {
		began := time.Now()
		g.look()
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(max(guardEvery, guardCost*time.Since(began))):
		}
	}
}

func (g *guard) look() {
	used, free, err := g.measure()
	if err != nil {
		g.log.Warn("the data directory cannot be measured", "err", err)
		return
	}
	g.bytes.WithLabelValues("used").Set(float64(used))
	g.bytes.WithLabelValues("free").Set(float64(free))
	g.mu.Lock()
	defer g.mu.Unlock()
	closed := g.why != nil
	g.why = g.judge(used, free, closed)
	switch {
	case !closed && g.why != nil:
		g.log.Error("the door is closed", "err", g.why)
	case closed && g.why == nil:
		g.log.Warn("the door is open again", "used", svc.Bytes(used).Short(), "free", svc.Bytes(free).Short())
	}
}

// judge is the rule; closed makes it stricter by the margin for opening.
func (g *guard) judge(used, free int64, closed bool) error {
	budget, least := float64(g.budget), float64(keepFree)
	if closed {
		budget *= reopenBelow
		least *= 2 - reopenBelow
	}
	switch {
	case float64(used) >= budget:
		return fmt.Errorf("%w: %s takes %s of %s; start with a larger --max-disk, or delete old rows",
			ErrOverBudget, g.dir, svc.Bytes(used).Short(), svc.Bytes(g.budget).Short())
	case float64(free) < least:
		return fmt.Errorf("%w: the disk of %s has %s left; free some space", ErrOverBudget, g.dir, svc.Bytes(free).Short())
	}
	return nil
}
