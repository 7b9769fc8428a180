package query

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/testkit"
	"github.com/millrace/millrace/services/query/problem"
)

// prove appends a ledger record that proves frames of a shard up to seq.
func (r *rig) prove(shard int, seq uint64) {
	r.Helper()
	r.lane(shard).append(func(s *bus.Share) { s.Proven = seq })
}

// rawFrame publishes a RAW frame of n events and returns its sequence.
func (r *rig) rawFrame(shard, n int, id string) uint64 {
	r.Helper()
	msg := nats.NewMsg(r.inst.Names.Raw(shard))
	msg.Header.Set(bus.HeaderEvents, fmt.Sprint(n))
	msg.Header.Set(bus.HeaderFrame, id)
	msg.Data = []byte("a frame")
	ack, err := r.js.PublishMsg(r.Context(), msg)
	if err != nil {
		r.Fatal(err)
	}
	return ack.Sequence
}

func TestAfter(t *testing.T) {
	r := newRig(t, 3, 2) // shards 0 and 2 share a sink
	r.prove(0, 12)
	if a := r.sql("after=0:12", "SELECT 1 AS a"); a.status != http.StatusOK {
		t.Fatalf("a receipt that is in: %d %s", a.status, a.body)
	}
	if a := r.sql("after=", "SELECT 1 AS a"); a.status != http.StatusOK {
		t.Errorf("the receipt of nothing: %d %s", a.status, a.body)
	}

	// Not yet: how far it is, of every shard of the receipt.
	a := r.sql("after=0:12,1:5&timeout=50ms", "SELECT 1 AS a")
	want := []problem.Waiting{{Shard: 0, Want: 12, Have: 12}, {Shard: 1, Want: 5, Have: 0}}
	if a.status != http.StatusGatewayTimeout || a.problem.Code != "not_yet" || fmt.Sprint(a.problem.Shards) != fmt.Sprint(want) {
		t.Errorf("not yet: %d %s", a.status, a.body)
	}

	// A question that waits is woken by the proof.
	done := make(chan answer, 1)
	go func() { done <- r.sql("after=0:14,2:3&timeout=30s", "SELECT 2 AS a") }()
	r.prove(2, 3)
	select {
	case a := <-done:
		t.Fatalf("answered before shard 0 was proven: %d %s", a.status, a.body)
	case <-time.After(200 * time.Millisecond):
	}
	r.prove(0, 20)
	if a := <-done; a.status != http.StatusOK || a.body != "{\"a\":2}\n" {
		t.Errorf("woken: %d %s", a.status, a.body)
	}
	t.Run("in", func(t *testing.T) { afterIn(t, r) })
	t.Run("outages", func(t *testing.T) { outages(t, r) })
}

// afterIn waits for a place in the IN stream.
func afterIn(t *testing.T, r *rig) {
	ctx := t.Context()
	var last uint64
	for range 3 {
		ack, err := r.js.Publish(ctx, r.inst.Names.In("shop"), []byte(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		last = ack.Sequence
	}
	if last != 3 {
		t.Fatalf("the last message of IN is %d", last)
	}
	consumer, err := r.js.Consumer(ctx, r.inst.Names.StreamIn(), r.inst.Names.DurableIngester())
	if err != nil {
		t.Fatal(err)
	}
	batch, err := consumer.Fetch(3)
	if err != nil {
		t.Fatal(err)
	}
	var msgs []jetstream.Msg
	for msg := range batch.Messages() {
		msgs = append(msgs, msg)
	}
	// The third one is in RAW and acknowledged, the second is not: a receipt covers what was before it too.
	seq := r.rawFrame(1, 1, "a")
	for _, i := range []int{0, 2} {
		if err := msgs[i].DoubleAck(ctx); err != nil {
			t.Fatal(err)
		}
	}
	a := r.sql("after=in:3&timeout=2s", "SELECT 1 AS a")
	if a.status != http.StatusGatewayTimeout || a.problem.In == nil || *a.problem.In != (problem.InWait{Want: 3, Have: 1}) {
		t.Errorf("the second message is not in RAW: %d %s", a.status, a.body)
	}
	if a := r.sql("after=in:1&timeout=2s", "SELECT 1 AS a"); a.status != http.StatusGatewayTimeout || a.problem.In != nil || len(a.problem.Shards) != 1 {
		t.Errorf("the first message is in RAW, its frame is not proven: %d %s", a.status, a.body)
	}
	if err := msgs[1].DoubleAck(ctx); err != nil {
		t.Fatal(err)
	}
	a = r.sql("after=in:3&timeout=2s", "SELECT 1 AS a")
	if want := []problem.Waiting{{Shard: 1, Want: seq, Have: 0}}; a.status != http.StatusGatewayTimeout || fmt.Sprint(a.problem.Shards) != fmt.Sprint(want) {
		t.Errorf("the frame is not proven: %d %s", a.status, a.body)
	}
	r.prove(1, seq)
	if a := r.sql("after=in:3", "SELECT 1 AS a"); a.status != http.StatusOK {
		t.Errorf("all is in: %d %s", a.status, a.body)
	}
	if a := r.sql("after=in:4&timeout=50ms", "SELECT 1 AS a"); a.status != http.StatusGatewayTimeout {
		t.Errorf("a place that no message has yet: %d %s", a.status, a.body)
	}
}

// outages takes NATS and ClickHouse away and gives them back.
func outages(t *testing.T, r *rig) {
	unavailable := func(name string, a answer) {
		t.Helper()
		if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" || a.problem.Code != "unavailable" {
			t.Errorf("%s: %d %v %s", name, a.status, a.header, a.body)
		}
	}
	r.nats.Stop()
	if a := r.sql("", "SELECT 1 AS a"); a.status != http.StatusOK {
		t.Errorf("a question that needs no NATS: %d %s", a.status, a.body)
	}
	if a := r.sql("after=0:20", "SELECT 1 AS a"); a.status != http.StatusOK {
		t.Errorf("a receipt that was proven before: %d %s", a.status, a.body)
	}
	testkit.Eventually(t, "the service notices", func() bool { return r.svc.followed() != nil })
	unavailable("a receipt nobody can know of", r.sql("after=0:21&timeout=50ms", "SELECT 1 AS a"))
	unavailable("IN", r.sql("after=in:3&timeout=50ms", "SELECT 1 AS a"))
	unavailable("verify", r.post("/v1/status", "", "", func(req *http.Request) { req.Method = http.MethodGet }))
	r.nats.Start()
	testkit.Eventually(t, "NATS is back", func() bool {
		_, err := r.js.AccountInfo(t.Context()) // by the test's own connection too
		return err == nil && r.svc.followed() == nil
	})
	r.prove(0, 21)
	if a := r.sql("after=0:21&timeout=30s", "SELECT 1 AS a"); a.status != http.StatusOK {
		t.Errorf("the watermark does not move after NATS came back: %d %s", a.status, a.body)
	}

	if err := r.db.Kill(); err != nil {
		t.Fatal(err)
	}
	unavailable("ClickHouse is away", r.sql("", "SELECT 1 AS a"))
	r.db.Start()
	if a := r.sql("", "SELECT 1 AS a"); a.status != http.StatusOK {
		t.Errorf("ClickHouse is back: %d %s", a.status, a.body)
	}
}
