package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
)

// What a fault is about must happen, or the fault was none. These look for it:
// in what the services say, in the leases, in the ledger.

// missed says what a fault waited for in vain.
func missed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errMissed, fmt.Sprintf(format, args...))
}

// undoing is the context of what is undone: also when the run is being ended,
// for the verdict counts afterwards.
func undoing(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
}

// eventually looks every few milliseconds until it is so, and says whether it
// was within the limit.
func eventually(ctx context.Context, limit time.Duration, so func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for !so() {
		if !pause(ctx, 5*time.Millisecond) {
			return so()
		}
	}
	return true
}

// ear hears what processes say from now on.
type ear struct {
	list []*process
	from []int
}

func listen(list ...*process) ear {
	e := ear{list: list}
	for _, p := range list {
		e.from = append(e.from, len(p.tail(wholeLog)))
	}
	return e
}

// listen hears both processes of a service.
func (l *lab) listen(service string) ear {
	pair := l.services[service]
	return listen(pair[:]...)
}

// heard says whether one of them has said one of the texts.
func (e ear) heard(texts ...string) bool {
	for i, p := range e.list {
		said := p.tail(wholeLog)
		said = said[min(e.from[i], len(said)):]
		for _, text := range texts {
			if strings.Contains(said, text) {
				return true
			}
		}
	}
	return false
}

// await waits until one of them says one of the texts.
func (e ear) await(ctx context.Context, limit time.Duration, texts ...string) error {
	if eventually(ctx, limit, func() bool { return e.heard(texts...) }) {
		return nil
	}
	return missed("no %s said %q within %s", strings.TrimRight(e.list[0].name, "-0123456789"), texts, limit)
}

// holders says who works on each shard of a service, or on each sink.
func (l *lab) holders(ctx context.Context, js jetstream.JetStream, service string) (map[int]string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	kv, err := js.KeyValue(ctx, l.names().BucketLeases())
	if err != nil {
		return nil, err
	}
	held := map[int]string{}
	for shard := range map[string]int{"enricher": shardCount, "indexer": sinkCount}[service] {
		entry, err := kv.Get(ctx, service+".shard."+strconv.Itoa(shard))
		if err == nil {
			held[shard] = string(entry.Value())
		}
	}
	return held, nil
}

// leases waits until all that a service holds is held by so many of its
// processes.
func (l *lab) leases(ctx context.Context, service string, by int, limit time.Duration) error {
	js, done, err := l.jetStream()
	if err != nil {
		return err
	}
	defer done()
	var held map[int]string
	want := map[string]int{"enricher": shardCount, "indexer": sinkCount}[service]
	if eventually(ctx, limit, func() bool {
		held, err = l.holders(ctx, js, service)
		owners := map[string]bool{}
		for _, who := range held {
			owners[who] = true
		}
		return err == nil && len(held) == want && len(owners) == by
	}) {
		return nil
	}
	return missed("%s leases are %v after %s, want %d holders of %d (%v)", service, held, limit, by, want, err)
}

// records are the newest of the ledger, by sink; a sink without one is not
// there.
func (l *lab) records(ctx context.Context) (map[int]bus.Record, error) {
	js, done, err := l.jetStream()
	if err != nil {
		return nil, err
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	ledger, err := js.Stream(ctx, l.names().StreamLedger())
	if err != nil {
		return nil, err
	}
	found := map[int]bus.Record{}
	for sink := range sinkCount {
		rec, ok, err := bus.LedgerLast(ctx, ledger, l.names(), sink)
		if err != nil {
			return nil, err
		}
		if ok {
			found[sink] = rec
		}
	}
	return found, nil
}

// still says whether the table has no row more after a while.
func (l *lab) still(ctx context.Context, while time.Duration) (bool, error) {
	count := func() (uint64, error) { return l.db.number(ctx, "SELECT count() FROM events") }
	before, err := count()
	if err != nil {
		return false, err
	}
	if !pause(ctx, while) {
		return false, ctx.Err()
	}
	after, err := count()
	return before == after, err
}

// worse keeps what is worse: a step that failed, or one that was missed.
func worse(errs ...error) error {
	var one error
	for _, err := range errs {
		if err != nil && (one == nil || errors.Is(one, errMissed)) {
			one = err
		}
	}
	return one
}
