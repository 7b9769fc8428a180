package tail

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/testkit"
)

// rig is a tail over a real NATS.
type rig struct {
	*testing.T
	nats   *testkit.NATS
	js     jetstream.JetStream
	inst   bus.Installation
	tail   *Tail
	proven []atomic.Uint64
}

func newRig(t *testing.T, shards int, budget int64) *rig {
	t.Helper()
	r := &rig{T: t, nats: testkit.StartNATS(t), proven: make([]atomic.Uint64, shards)}
	r.js = r.nats.Connect()
	r.inst = r.nats.Provision(r.js, shards)
	r.start(budget)
	return r
}

func (r *rig) start(budget int64) {
	r.Helper()
	r.tail = New(Config{
		JS: r.js, Names: r.inst.Names, Proven: func(s int) uint64 { return r.proven[s].Load() }, Budget: budget,
		Log: slog.New(slog.NewTextHandler(r.Output(), nil)), Reg: prometheus.NewRegistry(),
	})
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	done := make(chan error, 1)
	go func() { done <- r.tail.Run(ctx) }()
	r.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			r.Errorf("run: %v", err)
		}
	})
	<-r.tail.Ready()
}

func (r *rig) publish(shard int, users ...string) bus.Place {
	r.Helper()
	var rows []testkit.Row
	for _, u := range users {
		rows = append(rows, testkit.Row{Source: "shop", Type: "track", Event: "e", UserID: u, Timestamp: time.Now()})
	}
	return bus.Place{Shard: shard, Seq: r.nats.PublishEnriched(r.js, shard, rows...)}
}

func (r *rig) await(p bus.Place) {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
	defer cancel()
	if err := r.tail.Await(ctx, p); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) rows(p *Pin, users ...string) (places []string) {
	r.Helper()
	rows, _, err := p.Rows(Who{Source: "shop", Users: users})
	if err != nil {
		r.Fatal(err)
	}
	for _, x := range rows {
		places = append(places, fmt.Sprintf("%d:%d:%d", x.Place.Shard, x.Place.Seq, x.Idx()))
	}
	slices.Sort(places)
	return places
}

func (r *rig) want(what string, got []string, want ...string) {
	r.Helper()
	if !slices.Equal(got, want) {
		r.Errorf("%s: %v, want %v", what, got, want)
	}
}

// TestPin: the rows above the watermark of one moment stay, whatever is proven meanwhile.
func TestPin(t *testing.T) {
	r := newRig(t, 2, 0)
	r.await(r.publish(0, "a", "b", "a"))
	r.await(r.publish(1, "a"))
	r.proven[0].Store(1)
	r.await(r.publish(0, "a"))
	p := r.tail.Pin()
	r.want("pinned", r.rows(p, "a"), "0:2:0", "1:1:0")
	r.proven[0].Store(2)
	r.proven[1].Store(1)
	for range 5 {
		r.await(r.publish(0))
		r.await(r.publish(1, "b"))
	}
	r.want("still pinned", r.rows(p, "a"), "0:2:0", "1:1:0")
	if lacks := p.Lacks(); len(lacks) != 0 {
		t.Errorf("lacks %v", lacks)
	}
	next := r.tail.Pin()
	r.want("another", r.rows(next, "a"))
	r.want("another", r.rows(next, "b"), "1:2:0", "1:3:0", "1:4:0", "1:5:0", "1:6:0")
	r.want("nobody", r.rows(next, "c"))
	p.Release()
	next.Release()
	r.proven[0].Store(7)
	r.await(r.publish(0))
	r.await(r.publish(1))
	r.tail.mu.Lock()
	defer r.tail.mu.Unlock()
	if n := len(r.tail.index); n != 1 { // b in shard 1
		t.Errorf("%d users are in the index", n)
	}
}

// TestStartsAtTheWatermark: what is proven is not read, also by a tail that starts when the ledger's follower has not.
func TestStartsAtTheWatermark(t *testing.T) {
	r := newRig(t, 1, 0)
	for range 3 {
		r.publish(0, "a")
	}
	ledger, err := r.js.Stream(t.Context(), r.inst.Names.StreamLedger())
	if err != nil {
		t.Fatal(err)
	}
	rec := bus.Record{Incarnation: r.inst.Incarnation, Owner: "test", Shards: []bus.Proof{{Proven: 2}}}
	if err := bus.LedgerAppend(t.Context(), r.js, ledger, r.inst.Names, &rec, 0); err != nil {
		t.Fatal(err)
	}
	r.start(0)
	r.await(bus.Place{Seq: 3})
	p := r.tail.Pin()
	defer p.Release()
	r.want("above it", r.rows(p, "a"), "0:3:0")
	if m := p.Marks(); m[0] != 2 {
		t.Errorf("the watermark is %d", m[0])
	}
}

// TestBudget: over it the oldest frames go, are named, and are proven later.
func TestBudget(t *testing.T) {
	r := newRig(t, 2, 64<<10)
	for range 200 {
		r.publish(0, "a", "b", "c", "d")
	}
	last := r.publish(1, "a")
	r.await(bus.Place{Seq: 200})
	r.await(last)
	p := r.tail.Pin()
	lacks := p.Lacks()
	if len(lacks) != 1 || lacks[0].Shard != 0 || lacks[0].From != 1 || lacks[0].To < 2 || lacks[0].To >= 200 {
		t.Fatalf("lacks %v", lacks)
	}
	rows := r.rows(p, "a")
	if want := 200 - int(lacks[0].To) + 1; len(rows) != want {
		t.Errorf("%d rows, want %d", len(rows), want)
	}
	p.Release()
	r.proven[0].Store(lacks[0].To)
	p = r.tail.Pin()
	defer p.Release()
	if lacks := p.Lacks(); len(lacks) != 0 {
		t.Errorf("lacks %v although all of it is proven", lacks)
	}
	r.tail.mu.Lock()
	defer r.tail.mu.Unlock()
	if used := r.tail.used + r.tail.opened; used > 70<<10 {
		t.Errorf("it takes %d bytes", used)
	}
}

// TestSubscription reads from the middle of what is no longer in memory, through it, and on with what comes.
func TestSubscription(t *testing.T) {
	r := newRig(t, 2, 64<<10)
	for range 150 {
		r.publish(0, "a", "b", "c", "d")
	}
	r.proven[0].Store(150)
	last := r.publish(0, "x")
	r.await(last)
	s := r.tail.Subscribe(bus.Receipt{Places: []bus.Place{{Shard: 0, Seq: 5}}})
	if n := s.Behind(); n != 146 {
		t.Errorf("%d frames are waiting", n)
	}
	next := func() *Frame {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		f, err := s.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	for seq := uint64(6); seq <= 151; seq++ {
		f := next()
		v, err := f.View()
		if err != nil || f.Place != (bus.Place{Shard: 0, Seq: seq}) || v.Rows() != f.Rows() || v.U64(frame.ColSeq, 0) != seq {
			t.Fatalf("frame %v, want %d (%v)", f.Place, seq, err)
		}
	}
	go r.publish(1, "y")
	if f := next(); f.Place != (bus.Place{Shard: 1, Seq: 1}) {
		t.Errorf("then %v", f.Place)
	}
	if got := s.Position().String(); got != "0:151,1:1" {
		t.Errorf("position %s", got)
	}
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Next(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nothing has come: %v", err)
	}
	if err := bus.Purge(t.Context(), r.js, r.inst.Names.StreamEnriched(0), 20); err != nil {
		t.Fatal(err)
	}
	s = r.tail.Subscribe(bus.Receipt{Places: []bus.Place{{Shard: 0, Seq: 9}}})
	_, err := s.Next(t.Context())
	if gap, ok := errors.AsType[*GapError](err); !ok || *gap != (GapError{Shard: 0, From: 10, To: 19}) {
		t.Errorf("what was purged: %v", err)
	}
	if f := next(); f.Place.Seq != 20 {
		t.Errorf("behind the gap comes %v", f.Place)
	}
}

// TestAwait: woken by the frame, by the watermark, and by nothing else.
func TestAwait(t *testing.T) {
	r := newRig(t, 1, 0)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if err := r.tail.Await(ctx, bus.Place{Seq: 1}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("too early: %v", err)
	}
	if err := r.tail.Await(t.Context(), bus.Place{Shard: 1, Seq: 1}); err == nil {
		t.Error("there is no shard 1")
	}
	done := make(chan struct{})
	go func() { r.await(bus.Place{Seq: 2}); close(done) }()
	r.await(r.publish(0))
	select {
	case <-done:
		t.Fatal("woken by the frame before")
	default:
	}
	r.publish(0, "a")
	<-done
	done = make(chan struct{})
	go func() { r.await(bus.Place{Seq: 10}); close(done) }()
	r.proven[0].Store(10) // the ledger may be ahead of the tail
	<-done
}
