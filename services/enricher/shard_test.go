package enricher

import (
	"errors"
	"fmt"
	"testing"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event"
	"github.com/millrace/millrace/libs/event/frame"
)

func TestEveryFrameIsAnsweredAtItsSequence(t *testing.T) {
	r := newRig(t, 2)
	x := r.enricher()
	for n := range 200 {
		r.raw(n%2, sent{body: track(fmt.Sprint("m", n), "u")}, sent{body: track(fmt.Sprint("m", n/2), "u")})
	}
	r.answered(0, 100)
	r.answered(1, 100)
	rows := 0
	for shard := range 2 {
		for _, a := range r.answers(shard) {
			rows += a.verdict.Rows
			if a.verdict.In != 2 {
				t.Errorf("frame %d counts %d events", a.seq, a.verdict.In)
			}
		}
	}
	// m<k> comes second in frames 2k and 2k+1, one of them in the shard that
	// has not seen it.
	if rows != 200+100 {
		t.Errorf("%d rows, want 300", rows)
	}
	if got := x.metric("events_total", "row"); got != 300 {
		t.Errorf("the metric counts %v rows", got)
	}
	if err := x.e.check(); err != nil {
		t.Errorf("health: %v", err)
	}
}

func TestARestartInTheMiddleKeepsRepeatsExact(t *testing.T) {
	r := newRig(t, 1)
	const rounds, perRound = 5, 60
	var want uint64
	for round := range rounds {
		x := r.enricher(func(c *Config) { c.Instance = fmt.Sprint("life-", round) })
		for i := range perRound {
			// One new event, and one of any round before.
			want = r.raw(0, sent{body: track(fmt.Sprint("new-", round, "-", i), "u")}, sent{body: track(fmt.Sprint("new-", i%(round+1), "-", i), "u")})
			if round%2 == 1 && i == perRound/2 {
				x.end() // while frames are waiting
			}
		}
		if round%2 == 0 {
			r.answered(0, want)
		}
		x.end()
	}
	r.enricher()
	r.answered(0, want)
	rows := map[string]int{}
	for _, a := range r.answers(0) {
		if a.verdict.Rows != 1 || a.verdict.Repeats != 1 {
			t.Errorf("frame %d: %+v", a.seq, a.verdict)
		}
		for row := range a.rows.Rows() {
			rows[string(a.rows.Str(frame.ColEventID, row))]++
		}
	}
	if len(rows) != rounds*perRound {
		t.Errorf("%d distinct rows, want %d", len(rows), rounds*perRound)
	}
}

func TestTheServerRestartsInTheMiddle(t *testing.T) {
	r := newRig(t, 1)
	r.enricher()
	var last uint64
	for n := range 300 {
		if n == 100 || n == 200 {
			r.stop()
			r.start()
		}
		last = r.raw(0, sent{body: track(fmt.Sprint("m", n), "u")}, sent{body: "x", reason: "malformed"})
	}
	r.answered(0, last)
	rows, frames := 0, r.answers(0)
	for _, a := range frames {
		rows += a.verdict.Rows
	}
	// A frame whose acknowledgement was lost was published twice: its events
	// are repeats.
	if rows != 300 {
		t.Errorf("%d rows, want 300", rows)
	}
	eventually(t, "all dead letters are out", func() bool { return len(r.dead()) == len(frames) })
}

func TestAHoleInRawIsAnsweredAsLost(t *testing.T) {
	r := newRig(t, 1)
	r.fragile(0)
	for n := range 10 {
		r.raw(0, sent{body: track(fmt.Sprint("m", n), "u")})
	}
	r.deleteRaw(0, 4, 5, 6)
	if err := bus.Purge(t.Context(), r.js, r.inst.Names.StreamRaw(0), 3); err != nil {
		t.Fatal(err)
	}
	x := r.enricher()
	r.answered(0, 10)
	lost := []uint64{}
	for _, a := range r.answers(0) {
		if a.verdict.Lost {
			lost = append(lost, a.seq)
			if a.verdict.In != 0 || a.rows.Rows() != 0 {
				t.Errorf("lost frame %d: %+v", a.seq, a.verdict)
			}
		} else if a.verdict.Rows != 1 {
			t.Errorf("frame %d: %+v", a.seq, a.verdict)
		}
	}
	if fmt.Sprint(lost) != "[1 2 4 5 6]" {
		t.Errorf("lost are %v", lost)
	}
	if x.metric("lost_frames_total") != 5 {
		t.Errorf("the metric counts %v", x.metric("lost_frames_total"))
	}
	x.end()
	r.deleteRaw(0, 10) // the last one that is answered
	r.raw(0, sent{body: track("m8", "u")})
	r.enricher()
	r.answered(0, 11)
	if a := r.answers(0)[10]; a.verdict.Repeats != 1 {
		t.Errorf("after holes in the window: %+v", a.verdict)
	}
}

// fragile makes a shard's RAW again so that messages of it can be deleted, as a
// damaged disk does.
func (r *rig) fragile(shard int) {
	r.t.Helper()
	cfg := r.stream(r.inst.Names.StreamRaw(shard)).CachedInfo().Config
	cfg.DenyDelete = false
	if err := r.js.DeleteStream(r.t.Context(), cfg.Name); err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.js.CreateStream(r.t.Context(), cfg); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) deleteRaw(shard int, seqs ...uint64) {
	r.t.Helper()
	s := r.stream(r.inst.Names.StreamRaw(shard))
	for _, seq := range seqs {
		if err := s.DeleteMsg(r.t.Context(), seq); err != nil {
			r.t.Fatalf("delete %d: %v", seq, err)
		}
	}
}

func TestAnUndecodableFrameIsDeadAndAnEmptyOneFollows(t *testing.T) {
	r := newRig(t, 1)
	r.enricher()
	r.raw(0, sent{body: track("a", "u")})
	r.rawMsg(0, []byte("no frame at all"), frame.Codec, 42)
	r.raw(0, sent{body: track("b", "u")})
	r.answered(0, 3)
	all := r.answers(0)
	if v := all[1].verdict; !v.Undecodable || v.In != 42 || v.Dead() != 42 || v.Rows != 0 {
		t.Errorf("%+v", v)
	}
	if all[0].verdict.Rows != 1 || all[2].verdict.Rows != 1 {
		t.Error("a neighbour is lost")
	}
	eventually(t, "the frame is a dead letter", func() bool { return len(r.dead()) == 1 })
	d := r.dead()[fmt.Sprintf("%d:0:2:0", r.inst.Incarnation)]
	if d.Events != 42 || string(d.Original) != "no frame at all" || d.Stage != stageEnricher || d.Reason != string(event.ReasonUndecodable) {
		t.Errorf("%+v", d)
	}
}

func TestANewerCodecWaitsAndIsNotDead(t *testing.T) {
	r := newRig(t, 1)
	x := r.enricher()
	r.raw(0, sent{body: track("a", "u")})
	r.rawMsg(0, []byte("of the future"), frame.Codec+1, 3)
	r.raw(0, sent{body: track("b", "u")})
	r.answered(0, 1)
	eventually(t, "health names the codec", func() bool { return errors.Is(x.e.check(), errNewerCodec) })
	x.end()
	if got := r.last(r.inst.Names.StreamEnriched(0)); got != 1 {
		t.Errorf("ENRICHED ends at %d", got)
	}
	if len(r.dead()) != 0 {
		t.Error("a frame of a newer codec is dead")
	}
}

func TestAFullEnrichedWaitsAndGoesOn(t *testing.T) {
	r := newRig(t, 1)
	r.resize(func(s *bus.Sizes) { s.Enriched = 64 << 10 })
	x := r.enricher()
	var last uint64
	for n := range 400 {
		last = r.raw(0, sent{body: track(fmt.Sprint("m", n), "u")})
	}
	eventually(t, "the alarm is on", func() bool { return x.metric("stream_full", "enriched") == 1 })
	full := r.last(r.inst.Names.StreamEnriched(0))
	if full >= last {
		t.Fatalf("ENRICHED took all %d frames", last)
	}
	rows := 0
	for r.last(r.inst.Names.StreamEnriched(0)) < last {
		for _, a := range r.answers(0) {
			rows += a.verdict.Rows
		}
		end := r.last(r.inst.Names.StreamEnriched(0))
		if err := bus.Purge(t.Context(), r.js, r.inst.Names.StreamEnriched(0), end+1); err != nil {
			t.Fatal(err)
		}
		// More may have come between reading and purging only if the stream
		// was not full, so the sum is of whole fillings and a rest.
		r.raw(0, sent{body: track("m0", "u")})
		last++
		eventually(t, "ENRICHED fills again", func() bool {
			return x.metric("stream_full", "enriched") == 1 || r.last(r.inst.Names.StreamEnriched(0)) >= last
		})
	}
	eventually(t, "the alarm is off", func() bool { return x.metric("stream_full", "enriched") == 0 })
	if got := x.metric("events_total", "row"); got != 400 {
		t.Errorf("%v rows were stored, want 400", got)
	}
}

func (r *rig) resize(change func(*bus.Sizes)) {
	r.t.Helper()
	change(&r.plan.Sizes)
	if _, err := bus.Provision(r.t.Context(), r.js, r.inst.Names, r.plan); err != nil {
		r.t.Fatal(err)
	}
}

func TestAShardWhoseLogsDisagreeStaysShut(t *testing.T) {
	for name, harm := range map[string]func(r *rig){
		"RAW went back": func(r *rig) {
			raw := r.stream(r.inst.Names.StreamRaw(0))
			cfg := raw.CachedInfo().Config
			if err := r.js.DeleteStream(r.t.Context(), cfg.Name); err != nil {
				r.t.Fatal(err)
			}
			if _, err := r.js.CreateStream(r.t.Context(), cfg); err != nil {
				r.t.Fatal(err)
			}
			r.raw(0, sent{body: track("other", "u")})
		},
		"RAW was written again": func(r *rig) {
			raw := r.stream(r.inst.Names.StreamRaw(0))
			cfg := raw.CachedInfo().Config
			if err := r.js.DeleteStream(r.t.Context(), cfg.Name); err != nil {
				r.t.Fatal(err)
			}
			if _, err := r.js.CreateStream(r.t.Context(), cfg); err != nil {
				r.t.Fatal(err)
			}
			for n := range 12 {
				r.raw(0, sent{body: track(fmt.Sprint("other", n), "u")})
			}
		},
		"another incarnation": func(r *rig) {
			cfg := r.stream(r.inst.Names.StreamEnriched(0)).CachedInfo().Config
			cfg.Metadata["millrace-incarnation"] = "7"
			if _, err := r.js.UpdateStream(r.t.Context(), cfg); err != nil {
				r.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			x := r.enricher()
			for n := range 10 {
				r.raw(0, sent{body: track(fmt.Sprint("m", n), "u")})
			}
			r.answered(0, 10)
			x.end()
			harm(r)
			x = r.enricher()
			eventually(t, "health says that the shard is shut", func() bool { return errors.Is(x.e.check(), ErrShut) })
			if x.metric("shard_open") != 0 {
				t.Error("the metric says that the shard is open")
			}
			x.end()
			if got := r.last(r.inst.Names.StreamEnriched(0)); got != 10 {
				t.Errorf("ENRICHED ends at %d", got)
			}
		})
	}
}

func TestARawThatGoesBackWhileItIsReadIsNoticed(t *testing.T) {
	r := newRig(t, 1)
	for n := range 10 {
		r.raw(0, sent{body: track(fmt.Sprint("m", n), "u")})
	}
	raw := r.stream(r.inst.Names.StreamRaw(0))
	msg, err := raw.GetMsg(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	var a audit
	for _, seq := range []uint64{10, 10} {
		if err := a.check(t.Context(), raw, seq, msg.Header.Get(bus.HeaderFrame)); err != nil {
			t.Fatal(err)
		}
	}
	r.fragile(0) // a new life, from 1 on
	if err := a.check(t.Context(), raw, 11, ""); !errors.Is(err, ErrShut) || !errors.Is(err, errReplaced) {
		t.Errorf("a shorter log: %v", err)
	}
	for n := range 12 {
		r.raw(0, sent{body: track(fmt.Sprint("other", n), "u")})
	}
	if err := a.check(t.Context(), raw, 11, ""); !errors.Is(err, ErrShut) || !errors.Is(err, errReplaced) {
		t.Errorf("another log: %v", err)
	}
	if err := bus.Purge(t.Context(), r.js, r.inst.Names.StreamRaw(0), 11); err != nil {
		t.Fatal(err)
	}
	if err := a.check(t.Context(), raw, 12, ""); err != nil {
		t.Errorf("a trimmed log: %v", err)
	}
}

func TestItMayStartBeforeTheStreams(t *testing.T) {
	r := newRig(t, 1)
	names := bus.Names{Prefix: "later"}
	x := r.enricher(func(c *Config) { c.Bus.Prefix = "later" })
	if err := x.e.check(); err == nil {
		t.Error("it is ready without streams")
	}
	inst, err := bus.Provision(t.Context(), r.js, names, r.plan)
	if err != nil {
		t.Fatal(err)
	}
	r.inst = inst
	r.raw(0, sent{body: track("a", "u")})
	r.answered(0, 1)
	eventually(t, "it is ready", func() bool { return x.e.check() == nil })
}

func TestItCreatesTheStreamsWhenItMay(t *testing.T) {
	r := newRig(t, 1)
	plan := r.plan
	plan.Shards = 3
	r.enricher(func(c *Config) { c.Bus.Prefix, c.ManageStreams, c.Plan = "own", true, plan })
	eventually(t, "the streams exist", func() bool {
		inst, err := bus.Open(t.Context(), r.js, bus.Names{Prefix: "own"})
		return err == nil && inst.Shards == 3
	})
}
