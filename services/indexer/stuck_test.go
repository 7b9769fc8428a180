package indexer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/svc"
	"github.com/millrace/millrace/libs/testkit"
)

func TestReasonsOfBeingStuck(t *testing.T) {
	said := func(code int) error { return fmt.Errorf("insert 3 rows: %w", &ch.Exception{Code: proto.Error(code)}) }
	for want, errs := range map[string][]error{
		bus.StuckWentBack: {fmt.Errorf("%w: RAW ends at 3", ErrWentBack)},
		bus.StuckDoubled:  {fmt.Errorf("%w: 4 rows", ErrDoubled)},
		bus.StuckCodec:    {fmt.Errorf("frame 3: %w", ErrNewerCodec)},
		bus.StuckDamaged:  {&damaged{seq: 3, err: frame.ErrDamaged}, ErrGap},
		bus.StuckParts:    {said(252)},
		bus.StuckReadOnly: {said(242), said(164), said(774)},
		bus.StuckMemory:   {said(241)},
		bus.StuckDisk:     {said(243)},
		bus.StuckSetup:    {said(60), said(516)},
		bus.StuckBusy:     {said(202)},
		bus.StuckAway:     {unanswered(context.DeadlineExceeded), unanswered(errors.New("connection refused"))},
		bus.StuckNATS:     {nats.ErrTimeout, fmt.Errorf("look up RAW: %w", context.DeadlineExceeded)},
		bus.StuckOther:    {errors.New("?")},
	} {
		for _, err := range errs {
			if got := stuckReason(err); got != want {
				t.Errorf("%v: %s, want %s", err, got, want)
			}
		}
	}
}

// A takeover that waits for ClickHouse to settle the open block names the shards
// that wait with it, in readiness and in the metric.
func TestATakeoverThatWaitsInSettleNamesItsShards(t *testing.T) {
	r := newRig(t, 2)
	s, c := r.twin(r.indexer())
	r.feed(0, 5, plain)
	r.feed(0, 5, plain)
	first, rows := r.collected(s, 1, 1)
	if err := c.commit(t.Context(), first, rows); err != nil { // the part that is already too many
		t.Fatal(err)
	}
	open, _ := r.collected(s, 2, 2)
	if err := c.append(t.Context(), open); err != nil { // and dies before the insert
		t.Fatal(err)
	}
	s.table.close()
	r.db.Exec("ALTER TABLE millrace.events MODIFY SETTING parts_to_delay_insert = 1, parts_to_throw_insert = 1")
	x := r.indexer()
	r.start(x)
	testkit.Eventually(t, "both shards are named, and why", func() bool {
		err := x.check()
		return err != nil && strings.Contains(err.Error(), "shard 0 is stuck: ") && strings.Contains(err.Error(), "shard 1 is stuck: ") &&
			strings.Contains(err.Error(), bus.StuckParts)
	})
	stuck := x.stuck()
	if len(stuck) != 2 || stuck[0].Reason != bus.StuckParts || stuck[0].Shut || stuck[0].Why == "" || stuck[0].Since.IsZero() {
		t.Errorf("others are told %+v", stuck)
	}
	r.db.Exec("ALTER TABLE millrace.events RESET SETTING parts_to_delay_insert, parts_to_throw_insert")
	r.ready(x)
	r.settled(0, 2)
}

// deafOnce is a journal that gives no answer to the first record.
type deafOnce struct{ asked int }

func (d *deafOnce) Append(_ context.Context, rec *bus.Record, _ uint64) error {
	if d.asked++; d.asked == 1 {
		return nats.ErrTimeout
	}
	rec.Revision = uint64(d.asked)
	return nil
}

func (d *deafOnce) Newest(context.Context) (uint64, error) { return uint64(d.asked), nil }

// The proof of the last block is written at the second attempt, and no block
// follows: nothing waits any more.
func TestAProofWrittenAtTheSecondAttemptIsNoTroubleForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		s := &sink{lanes: svc.NewLanes("indexer", reg, bus.StuckReasons()...), log: slog.New(slog.DiscardHandler), shards: []*shard{{id: 0}, {id: 1}}}
		j := &deafOnce{}
		c := &committer{
			journal: j, metrics: newMetrics(reg), log: s.log, backoff: s.backoff, retried: s.retried, proven: true,
			last: bus.Record{Shards: []bus.Proof{{Shard: 0}, {Shard: 1}}, Open: &bus.Intent{}},
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.commits(ctx, c, make(chan *batch), nil) }()
		time.Sleep(time.Hour)
		if stuck := s.lanes.Stuck(); len(stuck) > 0 {
			t.Errorf("stuck are %+v", stuck)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) || j.asked != 2 {
			t.Errorf("%v after %d attempts", err, j.asked)
		}
		if _, _, was := c.lines.Over(); was {
			t.Error("the next block would tell of an end after an hour")
		}
	})
}

// What kept shards from opening here is over when another owner has taken their
// sink.
func TestASinkThatAnotherTookIsNotNamed(t *testing.T) {
	r := newRig(t, 4, 2)
	a, b := r.indexer(), r.indexer()
	r.start(a)
	r.start(b)
	held := func(x *Indexer) []int {
		x.mu.Lock()
		defer x.mu.Unlock()
		if x.leases == nil {
			return nil
		}
		return x.leases.Held()
	}
	testkit.Eventually(t, "both own a sink", func() bool { return len(held(a)) == 1 && len(held(b)) == 1 })
	for _, shard := range r.inst.ShardsOf(held(b)[0]) { // as if own had failed here before the other took it
		a.note(shard, fmt.Errorf("%w: as a test says", ErrWentBack))
	}
	if a.check() == nil || len(a.stuck()) != 2 {
		t.Fatalf("nothing is wrong: %v, %v", a.check(), a.stuck())
	}
	testkit.Eventually(t, "they are the other's", func() bool { return len(a.stuck()) == 0 })
	r.ready(a)
}

func TestRetriesGrowAreCappedAndDiffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := growing{next: firstDelay}
		differ := false
		for i := range 20 {
			began, most := time.Now(), min(firstDelay<<min(i, 10), lastDelay)
			if err := g.wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			got := time.Since(began)
			if got <= most/2 || got > most {
				t.Errorf("wait %d took %s, want %s to %s", i, got, most/2, most)
			}
			differ = differ || got != most
		}
		if !differ {
			t.Error("nothing is left to chance: all processes come at once")
		}
	})
}
