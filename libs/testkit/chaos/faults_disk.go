package main

import (
	"context"
	"math/rand/v2"
	"time"
)

// diskFaults leave no room on the small disk of one of the two servers.
var diskFaults = []fault{
	{name: "disk/nats", what: "the disk of NATS is full: the door refuses", disk: true, do: fullDiskOfNATS},
	{name: "disk/clickhouse", what: "the disk of ClickHouse is full; it is started again when there is room", disk: true, do: fullDiskOfClickHouse},
}

func fullDiskOfNATS(ctx context.Context, l *lab, rng *rand.Rand) error {
	before := l.refused()
	err := fill(l.natsDir())
	if err == nil {
		if !eventually(ctx, 20*time.Second, func() bool { return l.refused() >= before+10 }) {
			err = missed("the door goes on taking events with a full disk behind it")
		}
		hold(ctx, rng, 0, 4*time.Second)
	}
	// A server that met a full disk stops its JetStream: it must be started
	// again, as an operator would.
	err = worse(err, free(l.natsDir()))
	l.nats.kill()
	return worse(err, l.nats.start())
}

func fullDiskOfClickHouse(ctx context.Context, l *lab, rng *rand.Rand) error {
	heard := l.listen("indexer")
	err := fill(l.dbDir())
	if err == nil {
		err = heard.await(ctx, 20*time.Second, "(243)", "No space left on device") // NOT_ENOUGH_SPACE, or the system's word
		hold(ctx, rng, 0, 4*time.Second)
	}
	// A merge that met the full disk can leave a part with an empty file, which
	// nobody notices until it is read (26.7, seen once in a soak of half an
	// hour). A start sets such a part aside and takes those it was merged from.
	err = worse(err, free(l.dbDir()))
	err = worse(err, l.db.kill())
	ctx, cancel := undoing(ctx)
	defer cancel()
	return worse(err, l.db.start(ctx))
}
