package indexer

import (
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
)

func TestOneShardThatIsShutDoesNotStopTheOthers(t *testing.T) {
	r := newRig(t, 3)
	// Shard 1 has a row in ClickHouse that the ledger does not know.
	b := frame.NewBlock(frame.RowSchema)
	addRow(b, 1, 99, 0, "")
	first := r.indexer()
	tab := first.newTable()
	defer tab.close()
	if err := tab.Insert(t.Context(), b, "t"); err != nil {
		t.Fatal(err)
	}
	stop := r.start(first)
	r.says(first, 1, "ClickHouse has rows of frame 99")
	r.feed(1, 5, plain)
	for range 3 {
		r.settled(0, r.feed(0, 5, plain))
		r.settled(2, r.feed(2, 5, plain))
	}
	r.exact(0, 0)
	r.exact(2, 0)
	if got := r.share(1); got.Proven != 0 || got.Totals != (bus.Totals{}) {
		t.Errorf("the ledger says of the shut shard %+v", got)
	}
	// It is looked at again, by this owner and by the next.
	stop()
	second := r.indexer()
	r.start(second)
	r.says(second, 1, "ClickHouse has rows of frame 99")
	r.db.Exec("ALTER TABLE millrace.events DELETE WHERE _shard = 1 AND _seq = 99 SETTINGS mutations_sync = 2")
	r.ready(second)
	r.settled(1, 1)
	r.exact(1, 0)
}

func TestAFrameOfANewerCodecShutsItsShardAlone(t *testing.T) {
	r := newRig(t, 2)
	x := r.indexer()
	r.start(x)
	r.settled(1, r.feed(1, 5, plain))
	before := r.sent[1]
	r.spoil = func(msg *nats.Msg) { msg.Header.Set(bus.HeaderCodec, "999") }
	r.feed(1, 5, plain)
	r.says(x, 1, "newer codec")
	r.settled(0, r.feed(0, 5, plain))
	r.exact(0, 0)
	if got := r.share(1); got.Proven != 1 || got.Totals != before {
		t.Errorf("the shard with a newer frame is at %+v", got)
	}
}

// mend makes a shard's ENRICHED anew, with the same messages but for one.
func (r *rig) mend(shard int, seq uint64, change func(msg *nats.Msg)) {
	r.Helper()
	ctx := r.Context()
	must := func(err error) {
		r.Helper()
		if err != nil {
			r.Fatal(err)
		}
	}
	name := r.inst.Names.StreamEnriched(shard)
	old, err := r.js.Stream(ctx, name)
	must(err)
	info := old.CachedInfo()
	var all []*nats.Msg
	for at := uint64(1); at <= info.State.LastSeq; at++ {
		raw, err := old.GetMsg(ctx, at)
		must(err)
		msg := &nats.Msg{Subject: raw.Subject, Header: raw.Header, Data: raw.Data}
		msg.Header.Del("Nats-Expected-Last-Sequence")
		if at == seq {
			change(msg)
		}
		all = append(all, msg)
	}
	must(r.js.DeleteStream(ctx, name))
	_, err = r.js.CreateStream(ctx, info.Config)
	must(err)
	for _, msg := range all {
		_, err := r.js.PublishMsg(ctx, msg)
		must(err)
	}
}

// The headers are well and the body is not: nobody knows before it is joined.
// Its shard is shut before the ledger has said anything of it, frames of it
// that wait behind it are forgotten, and the others go in.
func TestADamagedFrameShutsItsShardWhenItIsJoined(t *testing.T) {
	r := newRig(t, 3)
	x := r.indexer()
	r.start(x)
	r.settled(1, r.feed(1, 5, plain))
	before := r.sent[1]
	var whole []byte
	r.spoil = func(msg *nats.Msg) {
		whole = msg.Data
		native, err := frame.Unpack(nil, msg.Data)
		if err != nil {
			t.Fatal(err)
		}
		native[0]++ // one column more than there are
		msg.Data = frame.Pack(nil, native)
	}
	for range 3 {
		r.feed(1, 5, plain) // the first of them is spoilt
		r.feed(0, 5, plain)
		r.feed(2, 5, plain)
	}
	r.says(x, 1, "frame 2")
	for range 3 {
		r.feed(1, 5, plain)
		r.settled(0, r.feed(0, 5, plain))
		r.settled(2, r.feed(2, 5, plain))
	}
	r.exact(0, 0)
	r.exact(2, 0)
	if got := r.share(1); got.Proven != 1 || got.Totals != before || got.Open != nil {
		t.Errorf("the shard with the damaged frame is at %+v, want %+v", got, before)
	}
	if n := r.db.Count("SELECT count() FROM events WHERE _shard = 1"); n != before.Rows {
		t.Errorf("%d rows of the shard with the damaged frame, want %d", n, before.Rows)
	}
	r.mend(1, 2, func(msg *nats.Msg) { msg.Data = whole })
	r.ready(x)
	r.settled(1, r.feed(1, 5, plain))
	r.exact(1, 0)
}
