package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"

	"github.com/millrace/millrace/libs/failpoint"
	"github.com/millrace/millrace/libs/testkit/proxy"
)

// twinFaults pause an owner until another has taken over all that was its, and
// wake it up.
var twinFaults = []fault{
	{name: "twins/enricher", what: "SIGSTOP an enricher, another takes over, SIGCONT", do: pauseOwner("enricher")},
	{name: "twins/indexer", what: "SIGSTOP an indexer, another takes over, SIGCONT", do: pauseOwner("indexer")},
	{name: "twins/insert", what: "an indexer loses its lease in the middle of an insert, which arrives after its successor's", do: lateInsert},
	{name: "twins/window", what: "an indexer sleeps before an insert until ClickHouse has forgotten its token", do: sleepPastWindow},
}

const (
	// shared is how long it may take until both processes of a service own
	// something, and takenOver until one of them owns all.
	shared    = 8 * leaseTTL
	takenOver = 6 * leaseTTL
)

func pauseOwner(name string) func(context.Context, *lab, *rand.Rand) error {
	return func(ctx context.Context, l *lab, rng *rand.Rand) error {
		if err := l.leases(ctx, name, each, shared); err != nil {
			return err
		}
		p := l.services[name][rng.IntN(each)]
		p.signal(syscall.SIGSTOP)
		defer p.signal(syscall.SIGCONT)
		err := l.leases(ctx, name, 1, takenOver)
		hold(ctx, rng, 0, 2*leaseTTL)
		return err
	}
}

// rowsSent is the place in an indexer's stream to ClickHouse where the first
// column of its rows begins.
var rowsSent = proxy.Match{Has: "\x06_shard\x06UInt16", After: 64}

// lateInsert stops an insert in the middle, on the wire, and its sender with
// it, until the successor is at work.
func lateInsert(ctx context.Context, l *lab, rng *rand.Rand) error {
	if err := l.leases(ctx, "indexer", each, shared); err != nil {
		return err
	}
	p := l.services["indexer"][rng.IntN(each)]
	wire, err := l.wire(p.name+">clickhouse", "")
	if err != nil {
		return err
	}
	before := wire.Stats().Inside
	wire.StallInside(proxy.Up, 1, rowsSent)
	if !eventually(ctx, 5*time.Second, func() bool { return wire.Stats().Inside > before }) {
		return missed("%s sent no rows", p.name)
	}
	p.signal(syscall.SIGSTOP)
	defer p.signal(syscall.SIGCONT)
	err = l.leases(ctx, "indexer", 1, takenOver)
	hold(ctx, rng, time.Second, leaseTTL)
	wire.Heal()
	hold(ctx, rng, 0, time.Second)
	return err
}

// sleepPastWindow pauses an indexer between its intent and its insert, for
// longer than it may trust in the token without a look at the ledger. Meanwhile
// ClickHouse remembers one token only; an indexer that starts then would refuse
// to work. The process begins and ends with the fault.
func sleepPastWindow(ctx context.Context, l *lab, rng *rand.Rand) error {
	p := l.services["indexer"][rng.IntN(each)]
	p.kill()
	heard := listen(p)
	err := p.start(fmt.Sprintf("MILLRACE_FAILPOINTS=%s=stop@%d", failpoint.IndexerIntentAfter, 1+rng.IntN(10)))
	if err == nil {
		err = heard.await(ctx, shared, fmt.Sprintf("failpoint %s: stop", failpoint.IndexerIntentAfter))
	}
	if err == nil {
		err = l.db.exec(ctx, "ALTER TABLE events MODIFY SETTING non_replicated_deduplication_window = 1")
	}
	if err == nil {
		err = l.leases(ctx, "indexer", 1, takenOver)
		hold(ctx, rng, 12*time.Second, 14*time.Second)
		p.signal(syscall.SIGCONT)
		hold(ctx, rng, time.Second, 2*time.Second)
	}
	p.kill() // or it is gone already; armed points go with it
	err = worse(err, l.db.undo(ctx, "ALTER TABLE events MODIFY SETTING non_replicated_deduplication_window = 10000"))
	return worse(err, p.start())
}
