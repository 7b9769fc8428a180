package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/failpoint"
	"github.com/millrace/millrace/libs/localdb"
)

// logFaults are logs that went back: streams recreated, shortened or restored,
// a lost ledger, an older ClickHouse. What was acknowledged is in one of the two
// stores by then. The services meet the damage first, which they must notice;
// then an operator with `millrace recover`, whom the lab plays, brings the other
// store to agree.
var logFaults = []fault{
	{name: "log/ledger-lost", what: "the ledger is gone, blocks were open", do: loss{open: true, lose: deleteStream("LEDGER")}.do},
	{name: "log/raw-recreated", what: "a RAW stream is gone: its sequences begin again", do: loss{lose: deleteStream("RAW_1")}.do},
	{name: "log/raw-shortened", what: "a RAW stream is restored from an older backup, and nothing else", do: loss{backup: copyNATS, lose: restoreRaw}.do},
	{name: "log/enriched-recreated", what: "an ENRICHED stream is gone", do: loss{lose: deleteStream("ENRICHED_1")}.do},
	{name: "log/nats-restored", what: "NATS is restored from an older backup: all streams are shorter", do: loss{backup: copyNATS, lose: restoreNATS}.do},
	{name: "log/twice", what: "NATS is restored from an older backup, and takes events before anybody recovers: sequences are given twice", do: loss{backup: copyNATS, lose: restoreNATS, sends: true}.do},
	{name: "log/nats-lost", what: "the disk of NATS is lost", do: loss{lose: loseNATS}.do},
	{name: "log/clickhouse-restored", what: "ClickHouse is restored from an older backup: rows are missing", loses: true, do: loss{backup: copyClickHouse, lose: restoreClickHouse, opens: true}.do},
}

// loss is how a log goes back.
type loss struct {
	backup, lose func(context.Context, *lab) error
	// open: the indexers have died before, around an insert.
	open bool
	// opens: no sequence can be given twice, so the shards open.
	opens bool
	// sends: producers go on as soon as a shard is shut, and sequences are given
	// twice.
	sends bool
}

// do takes a backup, lets events flow, stops the producers, loses something,
// lets the services meet it, and recovers.
func (x loss) do(ctx context.Context, l *lab, rng *rand.Rand) error {
	if x.backup != nil {
		if err := x.backup(ctx, l); err != nil {
			return fmt.Errorf("take a backup: %w", err)
		}
		hold(ctx, rng, time.Second, 3*time.Second)
	}
	if x.open {
		if err := l.leaveOpen(ctx, rng); err != nil {
			return err
		}
	}
	l.gate.shut()
	reopen := sync.OnceFunc(l.gate.reopen)
	defer reopen()
	if !x.open {
		if err := l.settled(ctx); err != nil {
			return err
		}
	}
	for _, p := range l.all() {
		p.kill()
	}
	// What is lost now is brought back, also when the run is being ended.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 4*time.Minute)
	defer cancel()
	if err := x.lose(ctx, l); err != nil {
		return err
	}
	if err := x.meet(ctx, l, rng, reopen); err != nil {
		return err
	}
	if err := l.typeRecover(ctx); err != nil {
		return err
	}
	return l.startAll()
}

// meet lets the services run on what is left. Where a log went back they say so
// and write no row of that shard.
func (x loss) meet(ctx context.Context, l *lab, rng *rand.Rand, reopen func()) error {
	// Shard 1 is hit by all of them.
	count := func() (uint64, error) { return l.db.number(ctx, "SELECT count() FROM events WHERE _shard = 1") }
	before, err := count()
	if err != nil {
		return err
	}
	heard := l.listen("indexer")
	if err := l.startAll(); err != nil {
		return err
	}
	if !x.opens && !eventually(ctx, 30*time.Second, func() bool { return heard.heard("nothing is written until `millrace recover`") }) {
		return errors.New("a log went back, and no indexer says so")
	}
	if x.sends {
		reopen()
	}
	hold(ctx, rng, time.Second, 3*time.Second)
	after, err := count()
	if err != nil {
		return err
	}
	if !x.opens && after != before {
		return fmt.Errorf("a log went back, and shard 1 has %d rows where it had %d", after, before)
	}
	for _, p := range l.all() {
		p.kill()
	}
	return nil
}

func (l *lab) startAll() error {
	for _, p := range l.all() {
		if err := p.start(); err != nil {
			return err
		}
	}
	return nil
}

// leaveOpen lets both indexers die around an insert, so that the ledger ends
// with a block whose fate is open.
func (l *lab) leaveOpen(ctx context.Context, rng *rand.Rand) error {
	pair := l.services["indexer"]
	point := []failpoint.Name{failpoint.IndexerIntentAfter, failpoint.IndexerInsertAfter}[rng.IntN(2)]
	for _, p := range pair {
		p.kill()
		if err := p.start(fmt.Sprintf("MILLRACE_FAILPOINTS=%s=kill@%d", point, 1+rng.IntN(5))); err != nil {
			return err
		}
	}
	var err error
	for _, p := range pair {
		select {
		case <-p.ended():
		case <-time.After(8 * leaseTTL):
			err = missed("%s passes no %s", p.name, point)
		}
	}
	records, failed := l.records(ctx)
	open := 0
	for _, rec := range records {
		if rec.Open != nil {
			open++
		}
	}
	if err == nil && failed == nil && open == 0 {
		err = missed("no block is open")
	}
	if err = worse(err, failed); err == nil {
		return nil
	}
	for _, p := range pair {
		p.kill()
		err = worse(err, p.start())
	}
	return err
}

// typeRecover is what an operator types.
func (l *lab) typeRecover(ctx context.Context) error {
	var text []byte
	err := again(ctx, time.Minute, func(ctx context.Context) (err error) {
		cmd := exec.CommandContext(ctx, filepath.Join(l.bin, "millrace"), "recover", "--apply", "--quiet", "1s", "--sinks", strconv.Itoa(sinkCount),
			"--nats-url", "nats://"+address(l.natsPort), "--raw-size", l.rawSize, "--enriched-size", l.rawSize, "--in-size", "256MiB", "--dead-size", "64MiB",
			"--clickhouse-url", l.db.running().Addrs().URL(localdb.WriterUser, l.db.password(localdb.WriterUser)))
		cmd.Dir = l.dir // where the summary is written
		text, err = cmd.CombinedOutput()
		return err
	})
	if err != nil {
		return fmt.Errorf("millrace recover: %w\n%s", err, text)
	}
	return os.WriteFile(filepath.Join(l.dir, fmt.Sprintf("recover-%d.txt", time.Now().UnixNano())), text, 0o600)
}

// deleteStream loses a stream, named without the prefix.
func deleteStream(name string) func(context.Context, *lab) error {
	return func(ctx context.Context, l *lab) error {
		js, done, err := l.jetStream()
		if err != nil {
			return err
		}
		defer done()
		return again(ctx, 20*time.Second, func(ctx context.Context) error {
			err := js.DeleteStream(ctx, "MILLRACE_"+name)
			if errors.Is(err, jetstream.ErrStreamNotFound) {
				return nil
			}
			return err
		})
	}
}
