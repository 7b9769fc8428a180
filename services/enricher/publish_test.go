package enricher

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/libs/event/frame"
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

// The frames of a paused owner are on the way while its successor answers the
// first of them: the second then finds the place that it expects.
func TestAFrameBehindATwinsIsNoProofOfOnesOwn(t *testing.T) {
	r := newRig(t, 1)
	writer := func(name string) *outbox {
		return &outbox{
			js: r.js, stream: r.stream(r.inst.Names.StreamEnriched(0)), subject: r.inst.Names.Enriched(0), writer: name,
			log: discard(), m: newMetrics(prometheus.NewRegistry()).shard(0),
		}
	}
	send := func(o *outbox, seq uint64) {
		v := frame.Verdict{}
		o.send(flight{seq: seq, verdict: &v, msg: o.message(seq, nil, &v, &frame.Checkpoint{Writer: o.writer})})
	}
	successor, paused := writer("successor"), writer("paused")
	send(successor, 1)
	<-successor.flying[0].ack.Ok()
	send(paused, 1)
	send(paused, 2)
	cause := <-paused.flying[0].ack.Err()
	<-paused.flying[1].ack.Ok() // it expected frame 1 to be the last, and it was
	var claimed []uint64
	err := paused.settle(t.Context(), cause, func(f flight) { claimed = append(claimed, f.seq) })
	if !errors.Is(err, ErrFenced) || len(claimed) > 0 {
		t.Errorf("the paused owner claims frames %v, %v; want it fenced", claimed, err)
	}
}

// The acknowledgement of the last frame is lost, and nothing comes after it: that
// the frame is stored has to end what was said of it.
func TestALostAcknowledgementOfTheLastFrameIsNoTroubleForEver(t *testing.T) {
	r := newRig(t, 1)
	var told []error
	o := &outbox{
		js: r.js, stream: r.stream(r.inst.Names.StreamEnriched(0)), subject: r.inst.Names.Enriched(0), writer: "w",
		log: discard(), m: newMetrics(prometheus.NewRegistry()).shard(0), troubled: func(err error) { told = append(told, err) },
	}
	v := frame.Verdict{}
	o.send(flight{seq: 1, verdict: &v, msg: o.message(1, nil, &v, &frame.Checkpoint{Writer: o.writer})})
	<-o.flying[0].ack.Ok()
	lost := errors.New("no answer")
	if err := o.settle(t.Context(), lost, func(flight) {}); err != nil || len(o.flying) > 0 {
		t.Fatalf("settle: %v, %d frames in flight", err, len(o.flying))
	}
	if len(told) != 2 || !errors.Is(told[0], lost) || told[1] != nil {
		t.Errorf("told were %v, want the trouble and its end", told)
	}
}

// What kept a shard from opening here is over when another owner has taken it.
func TestAShardThatAnotherTookIsNotNamed(t *testing.T) {
	r := newRig(t, 2)
	a, b := r.enricher(), r.enricher()
	eventually(t, "both have a shard", func() bool { return a.metric("shard_open") == 1 && b.metric("shard_open") == 1 })
	for shard := range 2 {
		if a.metric("shard_open", strconv.Itoa(shard)) == 0 { // it is b's: as if own had failed here before b took it
			why := fmt.Errorf("%w: as a test says", ErrShut)
			a.e.note(shard, a.e.metrics.shard(shard), why)
		}
	}
	if a.e.check() == nil || len(a.e.stuck()) != 1 {
		t.Fatalf("nothing is wrong: %v, %v", a.e.check(), a.e.stuck())
	}
	eventually(t, "it is the other's", func() bool { return a.e.check() == nil && len(a.e.stuck()) == 0 })
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
