package enricher

import (
	"fmt"
	"strings"
	"testing"

	"github.com/millrace/millrace/libs/bus"
)

func TestRefusedEventsBecomeDeadLettersWithTheirOriginalBytes(t *testing.T) {
	r := newRig(t, 2)
	r.enricher()
	long := "line\nbreak and " + strings.Repeat("ä", 2000)
	seq := r.raw(1,
		sent{body: track("a", "u")},
		sent{body: "{bad\x00\xFF", reason: "malformed", detail: long},
		sent{body: `{"event":"x"}`, source: "blog"},
		sent{body: strings.Repeat(" ", 900_000), reason: "too_large"}, // compresses into any frame
		sent{body: "x", reason: "reason of. a newer door"},
		sent{body: "x", reason: "newer_reason"},
	)
	r.answered(1, seq)
	eventually(t, "all are out", func() bool { return len(r.dead()) == 5 })
	info, err := r.stream(r.inst.Names.StreamRaw(1)).GetMsg(t.Context(), seq)
	if err != nil {
		t.Fatal(err)
	}
	dead := r.dead()
	for idx, want := range map[int]bus.DeadLetter{
		1: {Source: "shop", Stage: "door", Reason: "malformed", Original: []byte("{bad\x00\xFF")},
		2: {Source: "blog", Stage: "enricher", Reason: "no_user", Detail: "neither userId nor anonymousId", Original: []byte(`{"event":"x"}`)},
		3: {Source: "shop", Stage: "door", Reason: "too_large", Original: []byte(strings.Repeat(" ", 900_000))},
		4: {Source: "shop", Stage: "door", Reason: "malformed", Original: []byte("x")},
		5: {Source: "shop", Stage: "door", Reason: "newer_reason", Original: []byte("x")},
	} {
		got := dead[fmt.Sprintf("%d:1:%d:%d", r.inst.Incarnation, seq, idx)]
		if got.Source != want.Source || got.Stage != want.Stage || got.Reason != want.Reason ||
			string(got.Original) != string(want.Original) || want.Detail != "" && got.Detail != want.Detail {
			t.Errorf("event %d: %.200q\nwant %.200q", idx, fmt.Sprint(got), fmt.Sprint(want))
		}
		if !got.Received.Equal(info.Time) || got.Events != 1 {
			t.Errorf("event %d: received %s, want %s; %d events", idx, got.Received, info.Time, got.Events)
		}
		if idx == 1 && (len(got.Detail) > 1024 || !strings.HasPrefix(got.Detail, "line break and ää")) {
			t.Errorf("detail %.100q of %d bytes", got.Detail, len(got.Detail))
		}
	}
}

func TestADeadLetterLargerThanAMessageIsCutAndSaysSo(t *testing.T) {
	r := newRig(t, 1)
	r.enricher()
	r.raw(0, sent{body: strings.Repeat(" ", 3<<20), reason: "too_large", detail: "why"})
	eventually(t, "it is out", func() bool { return len(r.dead()) == 1 })
	for _, d := range r.dead() {
		if !strings.HasPrefix(d.Detail, "cut after ") || !strings.HasSuffix(d.Detail, "; why") || len(d.Original) < 1<<19 {
			t.Errorf("%d bytes, detail %q", len(d.Original), d.Detail)
		}
	}
}

func TestCheckpointsLinkTheFramesWithRefusals(t *testing.T) {
	r := newRig(t, 1)
	x := r.enricher()
	bad, letters := map[uint64]bool{}, 0
	for n := range 60 {
		e := sent{body: track(fmt.Sprint("m", n), "u")}
		if n%7 == 3 {
			e.reason = "malformed"
			letters++
		}
		bad[r.raw(0, e)] = n%7 == 3
		if n == 30 {
			x.end()
			x = r.enricher()
		}
	}
	r.answered(0, 60)
	all := r.answers(0)
	var refused, earlier uint64
	for _, a := range all {
		if bad[a.seq] {
			refused, earlier = a.seq, refused
		}
		if a.check.Refused != refused || a.check.Earlier != earlier {
			t.Errorf("frame %d links to %d and %d, want %d and %d", a.seq, a.check.Refused, a.check.Earlier, refused, earlier)
		}
		if a.check.DeadOut >= a.seq {
			t.Errorf("frame %d says that dead letters are out up to %d", a.seq, a.check.DeadOut)
		}
		if a.check.Window != 1 {
			t.Errorf("frame %d: the window begins at %d", a.seq, a.check.Window)
		}
	}
	eventually(t, "all are out", func() bool { return len(r.dead()) == letters })
	// With the next frame the checkpoint says so.
	eventually(t, "DeadOut moves", func() bool {
		r.answered(0, r.raw(0, sent{body: track("again", "u")}))
		all = r.answers(0)
		a := all[len(all)-1]
		return a.check.DeadOut == a.seq-1
	})
}

// A DEAD that takes nothing holds the letters back, and the next owner finds
// them by the links.
func TestDeadLettersOfTheLastOwnerAreBroughtOutAtTakeover(t *testing.T) {
	r := newRig(t, 1)
	r.resize(func(s *bus.Sizes) { s.Dead = 1 }) // full from the start
	x := r.enricher()
	want := 0
	var last uint64
	for n := range 900 {
		e := []sent{{body: track(fmt.Sprint("m", n), "u")}, {body: "bad", reason: "malformed"}}
		if n%3 == 0 {
			e = e[:1]
		} else {
			want++
		}
		last = r.raw(0, e...)
	}
	r.answered(0, last)
	eventually(t, "the alarm is on", func() bool { return x.metric("stream_full", "dead") == 1 })
	if got := x.metric("dead_letter_waiting_frames"); got != float64(want) {
		t.Errorf("%v frames wait, want %d", got, want)
	}
	for _, a := range r.answers(0) {
		if a.check.DeadOut > 1 {
			t.Fatalf("frame %d says that dead letters are out up to %d", a.seq, a.check.DeadOut)
		}
	}
	eventually(t, "the shard is named, though frames are answered", func() bool { return x.metric("shard_stuck", bus.StuckFull) == 1 && x.e.check() != nil })
	x.stop() // its draining waits for DEAD in vain; nobody waits for it
	eventually(t, "the shard is left", func() bool { return x.metric("shard_open") == 0 })
	r.resize(func(s *bus.Sizes) { s.Dead = 1 << 26 })
	r.enricher()
	eventually(t, "the new owner brings them out", func() bool { return r.last(r.inst.Names.StreamDead()) >= uint64(want) })
	eventually(t, "all of them", func() bool { return len(r.dead()) == want })
	for id, d := range r.dead() {
		if string(d.Original) != "bad" || !strings.HasSuffix(id, ":1") {
			t.Errorf("%s: %q", id, d.Original)
		}
	}
}

func TestAThousandRefusalsOfOneFrameAreAllNamed(t *testing.T) {
	r := newRig(t, 1)
	r.enricher()
	var events []sent
	for i := range 5000 {
		events = append(events, sent{body: []string{`{}`, `1`, track(fmt.Sprint("m", i), "u"), `{"a"`}[i%4]})
	}
	seq := r.raw(0, events...)
	r.answered(0, seq)
	if v := r.answers(0)[0].verdict; v.Dead() != 3750 || v.Rows != 1250 {
		t.Errorf("%d dead, %d rows", v.Dead(), v.Rows)
	}
	eventually(t, "all are out", func() bool { return r.last(r.inst.Names.StreamDead()) >= 3750 })
	dead := r.dead()
	for i, e := range events {
		d, ok := dead[fmt.Sprintf("%d:0:%d:%d", r.inst.Incarnation, seq, i)]
		if ok != (i%4 != 2) || ok && string(d.Original) != e.body {
			t.Fatalf("event %d: %+v", i, d)
		}
	}
}

// DEAD is full while frames are answered; when it takes the letters again, no
// further frame comes that could say so.
func TestLettersThatWereLateAreToldOfWithoutAnotherFrame(t *testing.T) {
	r := newRig(t, 1)
	r.resize(func(s *bus.Sizes) { s.Dead = 1 << 10 })
	x := r.enricher()
	var last uint64
	for range 20 {
		last = r.raw(0, sent{body: strings.Repeat("x", 500), reason: "malformed"})
	}
	r.answered(0, last)
	all := r.answers(0)
	if got := all[len(all)-1].check.DeadOut; got >= last-1 {
		t.Fatalf("the last frame says that letters are out up to %d", got)
	}
	r.resize(func(s *bus.Sizes) { s.Dead = 1 << 26 })
	kv := r.leases()
	eventually(t, "the bucket says that all are out", func() bool {
		got, err := bus.DeadOut(t.Context(), kv, r.inst, 0)
		return err == nil && got == last
	})
	if got := len(r.dead()); got != 20 {
		t.Errorf("%d dead letters", got)
	}
	// The next owner believes it: it does not bring the same letters out again.
	x.end()
	next := r.enricher()
	r.answered(0, r.raw(0, sent{body: track("a", "u")}))
	eventually(t, "its letters are out", func() bool {
		seq := r.raw(0, sent{body: track("b", "u")})
		r.answered(0, seq)
		all := r.answers(0)
		return all[len(all)-1].check.DeadOut >= last
	})
	if again, lost := next.metric("dead_letters_total"), next.metric("lost_dead_letters_total"); again != 0 || lost != 0 {
		t.Errorf("%v dead letters came out again, %v are called lost", again, lost)
	}
	other := r.inst
	other.Incarnation++
	if got, err := bus.DeadOut(t.Context(), kv, other, 0); got != 0 || err != nil {
		t.Errorf("another incarnation is told %d, %v", got, err)
	}
}
