package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/millrace/millrace/libs/failpoint"
)

// pointFaults end or pause a process at an exact step of the protocol.
var pointFaults = []fault{
	{name: "point/ingester", what: "an ingester killed or paused at a step of its work; point/ingester.publish.after: at that one", do: atSomePoint(failpoint.IngesterPoints)},
	{name: "point/enricher", what: "an enricher killed or paused at a step of its work", do: atSomePoint(failpoint.EnricherPoints)},
	{name: "point/indexer", what: "an indexer killed or paused at a step of its work", do: atSomePoint(failpoint.IndexerPoints)},
}

// everyPoint is a fault for each point, for who asks for it by name.
func everyPoint() (list []fault) {
	for _, point := range failpoint.Names() {
		list = append(list, fault{name: "point/" + string(point), what: "a process killed or paused at this step", do: func(ctx context.Context, l *lab, rng *rand.Rand) error {
			return l.atPoint(ctx, rng, point)
		}})
	}
	return list
}

// rare points are not on the way of an event that meets no trouble: they come
// only after another fault, or with a stream that is nearly full.
func rare(point failpoint.Name) bool {
	for _, step := range []string{"indexer.attempt.", "indexer.trim_", "indexer.list.", "ingester.in_purge.", "enricher.dead_out."} {
		if strings.HasPrefix(string(point), step) {
			return true
		}
	}
	return false
}

// lead is what makes a process go where no trouble leads it.
var lead = map[string]failpoint.Name{
	"enricher.settle": failpoint.EnricherPublishAfter,
	"indexer.count":   failpoint.IndexerInsertAfter,
}

// often are steps that come with every event; the others are struck at their
// first passage.
var often = []string{
	"ingester.publish", "ingester.ack", "ingester.answer", "ingester.in_ack", "enricher.read", "enricher.publish", "enricher.ack",
	"indexer.intent", "indexer.ledger", "indexer.insert",
}

func atSomePoint(points func() []failpoint.Name) func(context.Context, *lab, *rand.Rand) error {
	return func(ctx context.Context, l *lab, rng *rand.Rand) error {
		list := slices.DeleteFunc(slices.Clone(points()), rare)
		return l.atPoint(ctx, rng, list[rng.IntN(len(list))])
	}
}

// atPoint starts both processes of a service anew, each to die or to stop at
// the same step, and clean ones when one of them did.
func (l *lab) atPoint(ctx context.Context, rng *rand.Rand, point failpoint.Name) error {
	name, _, _ := strings.Cut(string(point), ".")
	step := string(point)[:strings.LastIndex(string(point), ".")]
	pair := l.services[name]
	heard := l.listen(name)
	for _, p := range pair {
		action := fmt.Sprintf("%s=%s", point, []string{"kill", "stop"}[rng.IntN(2)])
		if slices.Contains(often, step) {
			action = fmt.Sprintf("%s@%d", action, 1+rng.IntN(20))
		}
		if by, ok := lead[step]; ok {
			action += fmt.Sprintf(",%s=error", by)
		}
		p.kill()
		if err := p.start("MILLRACE_FAILPOINTS=" + action); err != nil {
			return err
		}
	}
	err := heard.await(ctx, 5*leaseTTL, fmt.Sprintf("failpoint %s: kill", point), fmt.Sprintf("failpoint %s: stop", point))
	hold(ctx, rng, time.Second, 2*leaseTTL)
	for _, p := range pair {
		p.signal(syscall.SIGCONT)
	}
	hold(ctx, rng, 0, time.Second)
	for _, p := range pair {
		p.kill() // or it is gone already
		if failed := p.start(); failed != nil {
			return failed
		}
	}
	return err
}
