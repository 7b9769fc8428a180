package chaos

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/libs/testkit"
)

// Every process is killed with SIGKILL, one after another, while 200,000
// events go in over both doors.
func TestNothingIsLostOrDoubledWhenProcessesAreKilled(t *testing.T) {
	m := newMill(t)
	m.startNATS()
	for _, name := range []string{"query", "indexer", "enricher", "ingester"} { // any order will do; this is the reverse
		m.startService(name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	var accepted atomic.Int64
	var producers sync.WaitGroup
	const each = 40_000
	for i := range 4 {
		producers.Go(func() { overHTTP(ctx, t, m, fmt.Sprint("http", i), upTo(each), &accepted) })
	}
	producers.Go(func() { overNATS(ctx, t, m, "nats", each, &accepted) })

	// Each kill waits until a share of the events was accepted since the last,
	// so that all of them fall into the stream and none after it.
	faults := []func(){
		func() { m.services["enricher"][0].kill(); m.services["enricher"][0].start() },
		func() { m.services["indexer"][0].kill(); m.services["indexer"][0].start() },
		func() { m.services["ingester"][0].kill(); m.services["ingester"][0].start() },
		func() {
			if err := m.db.Kill(); err != nil {
				t.Error(err)
			}
			m.db.Start()
		},
		func() { m.nats.kill(); m.nats.start() },
		func() { m.services["indexer"][1].kill(); m.services["enricher"][1].kill() },
		func() { m.services["indexer"][1].start(); m.services["enricher"][1].start() },
		func() { m.services["query"][0].kill(); m.services["query"][0].start() },
	}
	for i, fault := range faults {
		testkit.Eventually(t, fmt.Sprintf("events go on before fault %d", i), func() bool {
			return accepted.Load() >= int64((i+1)*5*each/(len(faults)+1)) || t.Failed()
		})
		fault()
	}
	producers.Wait()
	m.exact(uint64(accepted.Load()))
}

// A paused owner wakes up after another has taken its shards.
func TestPausedTwinsDoNotDouble(t *testing.T) {
	m := newMill(t)
	m.startNATS()
	for _, name := range []string{"ingester", "enricher", "indexer", "query"} {
		m.startService(name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var accepted atomic.Int64
	var producers sync.WaitGroup
	var enough atomic.Bool
	producers.Go(func() { overHTTP(ctx, t, m, "http", func(int) bool { return !enough.Load() }, &accepted) })
	progress := func(what string, frames uint64) {
		from := m.proven()
		testkit.Eventually(t, what, func() bool {
			for shard, at := range m.proven() {
				if at < from[shard]+frames {
					return t.Failed()
				}
			}
			return true
		})
	}
	for _, name := range []string{"indexer", "enricher"} {
		progress("every shard goes on", 5)
		m.services[name][0].signal(syscall.SIGSTOP)
		progress("the other "+name+" takes over every shard", 20)
		m.services[name][0].signal(syscall.SIGCONT)
		progress("both go on", 20)
	}
	enough.Store(true)
	producers.Wait()
	m.exact(uint64(accepted.Load()))
}

// ClickHouse comes half a minute after everything else in life; here it is
// away from the start until events have been accepted.
func TestServicesStartInAnyOrderAndWaitForClickHouse(t *testing.T) {
	m := newMill(t)
	if err := m.db.Kill(); err != nil {
		t.Fatal(err)
	}
	m.startService("indexer")
	m.startService("enricher")
	m.startService("query")
	m.startService("ingester")
	m.startNATS()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var accepted atomic.Int64
	overHTTP(ctx, t, m, "early", upTo(2_000), &accepted)
	m.db.Start()
	overHTTP(ctx, t, m, "late", upTo(2_000), &accepted)
	m.exact(uint64(accepted.Load()))
}
