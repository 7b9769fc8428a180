package users

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event"
	"github.com/millrace/millrace/libs/localdb"
	"github.com/millrace/millrace/libs/svc"
	"github.com/millrace/millrace/libs/testkit"
	"github.com/millrace/millrace/services/query/reader"
	"github.com/millrace/millrace/services/query/tail"
)

const shop = "shop"

// stored is a row and where it is.
type stored struct {
	testkit.Row
	place
}

// rig is a NATS and a ClickHouse with Users over them. The test writes what ingester, enricher and indexer would.
type rig struct {
	*testing.T
	nats  *testkit.NATS
	db    *testkit.ClickHouse
	js    jetstream.JetStream
	inst  bus.Installation
	tail  *tail.Tail
	users *Users

	proven []atomic.Uint64 // by shard

	mu     sync.Mutex // guards all below
	rows   []stored   // all that were published
	frames map[bus.Place][]testkit.Row
	last   []uint64 // by shard, of ENRICHED
	raws   []uint64 // by shard, of RAW
	in     []uint64 // by shard: frames up to here are in ClickHouse, proven or not
}

func newRig(t *testing.T, shards int, budget int64) *rig {
	t.Helper()
	r := &rig{T: t, nats: testkit.StartNATS(t), db: testkit.StartClickHouse(t), frames: map[bus.Place][]testkit.Row{}}
	r.js = r.nats.Connect()
	r.inst = r.nats.Provision(r.js, shards)
	r.proven, r.last, r.raws, r.in = make([]atomic.Uint64, shards), make([]uint64, shards), make([]uint64, shards), make([]uint64, shards)
	r.serve(budget)
	return r
}

// serve makes Users anew, as after a restart.
func (r *rig) serve(budget int64) {
	r.Helper()
	u, err := url.Parse(r.db.Config(localdb.ReaderUser).URL)
	if err != nil {
		r.Fatal(err)
	}
	password, _ := u.User.Password()
	log := slog.New(slog.NewTextHandler(r.Output(), nil))
	reg := prometheus.NewRegistry()
	r.tail = tail.New(tail.Config{
		JS: r.js, Names: r.inst.Names, Proven: func(shard int) uint64 { return r.proven[shard].Load() }, Budget: budget, Log: log, Reg: reg,
	})
	r.users = New(Config{
		Tail: r.tail, NC: r.js.Conn(), HeadTime: time.Minute, Names: r.inst.Names, Log: log, Reg: reg,
		Reader: reader.New(reader.Config{URL: r.db.Addrs().HTTP, User: u.User.Username(), Password: svc.Secret(password), Database: localdb.Database}),
	})
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	done := make(chan error, 1)
	t := r.tail
	go func() { done <- t.Run(ctx) }()
	r.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			r.Errorf("tail: %v", err)
		}
	})
	<-t.Ready()
}

// shardOf is where events of a row's user go.
func (r *rig) shardOf(row *testkit.Row) int {
	user := row.UserID
	if user == "" {
		user = row.AnonymousID
	}
	return event.ShardOf(row.Source, []byte(user), r.inst.Shards)
}

// publish appends a frame for each shard that rows belong to.
func (r *rig) publish(rows ...testkit.Row) (receipt bus.Receipt) {
	r.Helper()
	byShard := map[int][]testkit.Row{}
	for _, row := range rows {
		if row.Source == "" {
			row.Source = shop
		}
		shard := r.shardOf(&row)
		byShard[shard] = append(byShard[shard], row)
	}
	for shard, rows := range byShard {
		receipt.Add(r.frame(shard, rows...))
	}
	return receipt
}

func (r *rig) frame(shard int, rows ...testkit.Row) bus.Place {
	r.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.raws[shard] == r.last[shard] { // ENRICHED is never longer than RAW
		r.appendRaw(shard)
	}
	p := bus.Place{Shard: shard, Seq: r.nats.PublishEnriched(r.js, shard, rows...)}
	r.last[shard], r.frames[p] = p.Seq, rows
	for i, row := range rows {
		r.rows = append(r.rows, stored{row, place{ms: row.Timestamp.UnixMilli(), shard: uint16(shard), seq: p.Seq, idx: uint32(i)}})
	}
	return p
}

// raw appends the RAW frame that a row's frame will answer.
func (r *rig) raw(row testkit.Row) {
	r.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.appendRaw(r.shardOf(&row))
}

func (r *rig) appendRaw(shard int) {
	r.Helper()
	if _, err := r.js.PublishMsg(r.Context(), nats.NewMsg(r.inst.Names.Raw(shard))); err != nil {
		r.Fatal(err)
	}
	r.raws[shard]++
}

// index brings the frames of a shard up to seq into ClickHouse, without proving them.
func (r *rig) index(shard int, seq uint64) {
	r.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for ; r.in[shard] < min(seq, r.last[shard]); r.in[shard]++ {
		p := bus.Place{Shard: shard, Seq: r.in[shard] + 1}
		if rows := r.frames[p]; len(rows) > 0 {
			r.db.InsertEvents(testkit.Block(shard, p.Seq, rows...))
		}
	}
}

// prove moves the watermark of a shard; the frames are in ClickHouse then.
func (r *rig) prove(shard int, seq uint64) {
	r.Helper()
	r.mu.Lock()
	seq = min(seq, r.last[shard])
	r.mu.Unlock()
	r.index(shard, seq)
	if seq > r.proven[shard].Load() {
		r.proven[shard].Store(seq)
	}
}

func (r *rig) proveAll() {
	r.Helper()
	for shard := range r.last {
		r.prove(shard, r.last[shard])
	}
}

// about asks about a user, once the receipt is in the tail.
func (r *rig) about(id string, after bus.Receipt) *Context {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
	defer cancel()
	if err := r.users.Await(ctx, after); err != nil {
		r.Fatal(err)
	}
	a, err := r.users.Context(ctx, User{Source: shop, ID: id}, Options{After: after})
	if err != nil {
		r.Fatal(err)
	}
	return a
}
