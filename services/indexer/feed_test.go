package indexer

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/localdb"
	"github.com/millrace/millrace/libs/svc"
	"github.com/millrace/millrace/libs/testkit"
)

// rig is one test's NATS and ClickHouse, and the frames that a test writes
// where the ingester and the enricher would.
type rig struct {
	*testing.T
	nats *testkit.NATS
	db   *testkit.ClickHouse
	js   jetstream.JetStream
	inst bus.Installation
	sent [8]bus.Totals // by shard

	spoil   func(msg *nats.Msg) // changes the next frame of ENRICHED
	deadOut *uint64             // what checkpoints say of dead letters; nil: all are out
}

// newRig makes one with a sink for all shards, or with as many as are named.
func newRig(t *testing.T, shards int, sinks ...int) *rig {
	r := &rig{T: t, nats: testkit.StartNATS(t), db: testkit.StartClickHouse(t)}
	r.js = r.nats.Connect()
	r.inst = r.nats.Provision(r.js, shards, sinks...)
	return r
}

// indexer makes one that flushes soon.
func (r *rig) indexer(change ...func(*Config)) *Indexer {
	r.Helper()
	cfg := Config{
		Bus: bus.Config{URL: r.nats.URL}, DB: r.db.Config(localdb.WriterUser), FlushMin: 5 * time.Millisecond,
		LeaseTTL: 2 * time.Second, InsertTimeout: 5 * time.Second,
		Log: slog.New(slog.NewTextHandler(r.Output(), nil)), Reg: prometheus.NewRegistry(), Health: svc.NewHealth(),
	}
	for _, f := range change {
		f(&cfg)
	}
	x, err := New(cfg)
	if err != nil {
		r.Fatal(err)
	}
	return x
}

// start runs an indexer until the returned function is called or the test ends.
func (r *rig) start(x *Indexer) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	done := make(chan error, 1)
	go func() { done <- x.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			r.Errorf("indexer: %v", err)
		}
	}
	r.Cleanup(stop)
	return stop
}

// sink is sink 0 of an indexer that does not run.
func (r *rig) sink(x *Indexer) *sink {
	r.Helper()
	kv, err := r.js.KeyValue(r.Context(), r.inst.Names.BucketLeases())
	if err != nil {
		r.Fatal(err)
	}
	s := x.sink(0, r.inst, r.js, r.ledger(), kv)
	r.Cleanup(s.table.close)
	return s
}

// twin takes sink 0 over, without a lease.
func (r *rig) twin(x *Indexer) (*sink, *committer) {
	r.Helper()
	s := r.sink(x)
	c, _, err := s.takeover(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	return s, c
}

// collected is frames first..last of shard 0 as a sink's committer has them.
func (r *rig) collected(s *sink, first, last uint64) (*bus.Intent, *frame.Block) {
	r.Helper()
	b := s.newBatch()
	if err := s.shards[0].reread(r.Context(), b, first, last); err != nil {
		r.Fatal(err)
	}
	rows, err := newJoiner().join(b)
	if err != nil {
		r.Fatal(err)
	}
	return b.intent(), rows
}

func (r *rig) ledger() jetstream.Stream {
	r.Helper()
	ledger, err := r.js.Stream(r.Context(), r.inst.Names.StreamLedger())
	if err != nil {
		r.Fatal(err)
	}
	return ledger
}

// append changes the newest record of sink 0 as nobody but a test does.
func (r *rig) append(change func(*bus.Record)) {
	r.Helper()
	rec := r.record(0)
	rec.Shards = slices.Clone(rec.Shards)
	revision := rec.Revision
	change(&rec)
	if err := bus.LedgerAppend(r.Context(), r.js, r.ledger(), r.inst.Names, &rec, revision); err != nil {
		r.Fatal(err)
	}
}

// feed appends a frame with rows events to RAW and ENRICHED of a shard. name
// gives the event's name by index; one more event a frame is a repeat and one
// was refused.
func (r *rig) feed(shard, rows int, name func(i int) string) uint64 {
	r.Helper()
	ctx := r.Context()
	raw := frame.NewBlock(frame.RawSchema)
	for i := range rows + 2 {
		for c, col := range frame.RawColumns {
			switch {
			case c == frame.RawSource:
				raw.Text(c, "shop")
			case c == frame.RawBody:
				raw.Text(c, fmt.Sprintf(`{"event":%q,"n":%d}`, name(i), i))
			case col.Type == "String":
				raw.Text(c, "")
			default:
				raw.U64(c, 0)
			}
		}
		raw.EndRow()
	}
	id := nats.NewInbox()
	msg := nats.NewMsg(r.inst.Names.Raw(shard))
	msg.Header.Set(bus.HeaderFrame, id)
	msg.Header.Set(bus.HeaderCodec, strconv.Itoa(frame.Codec))
	msg.Header.Set(bus.HeaderEvents, strconv.Itoa(rows+2))
	msg.Data = frame.Pack(nil, raw.AppendNative(nil))
	ack, err := r.js.PublishMsg(ctx, msg)
	if err != nil {
		r.Fatal(err)
	}
	block := frame.NewBlock(frame.RowSchema)
	for i := range rows {
		addRow(block, uint16(shard), ack.Sequence, uint32(i), name(i))
	}
	verdict := frame.Verdict{In: rows + 2, Rows: rows, Repeats: 1}
	verdict.Refuse(rows+1, "door", "no_user", "")
	checkpoint := frame.Checkpoint{Frame: id, Received: time.Now(), Window: ack.Sequence, DeadOut: ack.Sequence}
	if r.deadOut != nil {
		checkpoint.DeadOut = *r.deadOut
	}
	msg = nats.NewMsg(r.inst.Names.Enriched(shard))
	msg.Header.Set(bus.HeaderCodec, strconv.Itoa(frame.Codec))
	msg.Header.Set(bus.HeaderVerdict, frame.Encode(&verdict))
	msg.Header.Set(bus.HeaderCheckpoint, frame.Encode(&checkpoint))
	msg.Data = frame.Pack(nil, block.AppendNative(nil))
	if r.spoil != nil {
		r.spoil(msg)
		r.spoil = nil
	}
	if _, err := r.js.PublishMsg(ctx, msg, jetstream.WithExpectLastSequence(ack.Sequence-1)); err != nil {
		r.Fatal(err)
	}
	r.sent[shard] = r.sent[shard].Plus(bus.Totals{In: uint64(rows + 2), Rows: uint64(rows), Dead: 1, Repeats: 1})
	return ack.Sequence
}

func plain(i int) string { return "event " + strconv.Itoa(i%7) }

// record is the newest ledger record of a shard's sink.
func (r *rig) record(shard int) bus.Record {
	r.Helper()
	rec, _, err := bus.LedgerLast(r.Context(), r.ledger(), r.inst.Names, r.inst.SinkOf(shard))
	if err != nil {
		r.Fatal(err)
	}
	return rec
}

// share is what the ledger says of a shard.
func (r *rig) share(shard int) bus.Share {
	r.Helper()
	rec := r.record(shard)
	return rec.Share(shard)
}

// settled waits until the ledger says that frame seq of a shard is proven.
func (r *rig) settled(shard int, seq uint64) {
	r.Helper()
	testkit.Eventually(r, fmt.Sprintf("shard %d proves frame %d", shard, seq), func() bool { return r.share(shard).Proven >= seq })
}

// exact checks that the table holds what was fed, each row once, and that the
// ledger counted it.
func (r *rig) exact(shard int, missing uint64) {
	r.Helper()
	want := r.sent[shard]
	want.Rows -= missing
	want.Dead += missing
	if got := r.share(shard).Totals; got != want {
		r.Errorf("shard %d: the ledger counts %+v, fed were %+v", shard, got, want)
	}
	rows := r.db.Count("SELECT count() FROM events WHERE _shard = ?", shard)
	distinct := r.db.Count("SELECT uniqExact(_seq, _idx) FROM events WHERE _shard = ?", shard)
	if rows != want.Rows || distinct != want.Rows {
		r.Errorf("shard %d: %d rows, %d distinct, want %d", shard, rows, distinct, want.Rows)
	}
}
