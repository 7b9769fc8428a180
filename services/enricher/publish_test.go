package enricher

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
)

func TestAFailureIsNotForgottenWhenSettlingIsCutShort(t *testing.T) {
	o := &outbox{
		log: discard(), m: newMetrics(prometheus.NewRegistry()).shard(0),
		flying: []flight{{seq: 1, msg: &nats.Msg{}}},
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	why := errors.New("no answer")
	if err := o.settle(ctx, why, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("settle: %v", err)
	}
	_, failed := o.outcome()
	select {
	case err := <-failed:
		if !errors.Is(err, why) {
			t.Errorf("%v", err)
		}
	default:
		t.Error("a drain would wait for an answer that has come already")
	}
}

func TestAFullStreamIsToldFromOtherFaults(t *testing.T) {
	f := func(want bool, err error) {
		t.Helper()
		if isFull(err) != want {
			t.Errorf("%v", err)
		}
	}
	f(true, fmt.Errorf("publish: %w", &jetstream.APIError{ErrorCode: codeStoreFailed, Description: "maximum bytes exceeded"}))
	f(false, &jetstream.APIError{ErrorCode: codeStoreFailed, Description: "no space left on device"})
	f(false, &jetstream.APIError{ErrorCode: 10071, Description: "wrong last sequence"})
	f(false, nats.ErrTimeout)
}

func TestTwoInstancesShareTheShardsAndOneTakesOverFromTheOther(t *testing.T) {
	r := newRig(t, 4)
	a, b := r.enricher(), r.enricher()
	fill := func(from, to int) {
		for n := from; n < to; n++ {
			r.raw(n%4, sent{body: track(fmt.Sprint("m", n/4), "u")})
		}
		for shard := range 4 {
			r.answered(shard, uint64(to/4))
		}
	}
	fill(0, 80)
	eventually(t, "both have shards", func() bool { return a.metric("shard_open") == 2 && b.metric("shard_open") == 2 })
	fill(80, 160)
	a.end()
	fill(160, 240)
	for shard := range 4 {
		for _, x := range r.answers(shard) {
			if x.verdict.Rows != 1 {
				t.Errorf("shard %d frame %d: %+v", shard, x.seq, x.verdict)
			}
		}
	}
}
