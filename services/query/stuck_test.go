package query

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/svc"
	"github.com/millrace/millrace/libs/testkit"
	"github.com/millrace/millrace/services/query/reader"
)

func TestAShardIsJudgedByWhatItDoes(t *testing.T) {
	alive := owner{known: true, name: "a", silent: time.Second}
	v := func(raw, enriched, proven uint64) sight {
		return sight{raw: raw, enriched: enriched, proven: proven, enricher: alive, indexer: alive}
	}
	synctest.Test(t, func(t *testing.T) {
		j := &judge{}
		is := func(v sight, state, reason string, words ...string) {
			t.Helper()
			c := j.hear(v, time.Now())
			if c.State != state || c.Reason != reason || (c.State == StateOK) != (c.Why == "") || (c.State == StateOK) != c.Since.IsZero() {
				t.Errorf("judged %+v, want %s %s", c, state, reason)
			}
			for _, w := range words {
				if !strings.Contains(c.Why, w) {
					t.Errorf("why is %q, want %q in it", c.Why, w)
				}
			}
		}
		is(v(0, 0, 0), StateOK, "")
		time.Sleep(time.Hour) // an idle shard is well for ever
		is(v(7, 7, 7), StateOK, "")
		is(v(9, 7, 7), StateOK, "") // work has come just now
		time.Sleep(svc.LanePatience - 1)
		is(v(12, 7, 7), StateOK, "")
		time.Sleep(time.Nanosecond)
		is(v(12, 7, 7), StateStuck, bus.StuckNoProgress, "enricher", "answered no frame after 7", "up to 12")
		is(v(12, 8, 8), StateLagging, "", "4 frames")
		is(v(12, 12, 12), StateOK, "")
		// Progress in front does not hide that nothing is proven.
		for raw := uint64(12); raw < 30; raw++ {
			is(v(raw, raw, 12), StateOK, "")
			time.Sleep(svc.LanePatience / 20)
		}
		time.Sleep(svc.LanePatience)
		began := j.indexing.moved
		is(v(40, 40, 12), StateStuck, bus.StuckNoProgress, "indexer", "proven no frame after 12")
		time.Sleep(time.Minute)
		is(v(50, 50, 12), StateStuck, bus.StuckNoProgress)
		if !j.condition.Since.Equal(began) {
			t.Errorf("stuck since %s, want %s", j.condition.Since, began)
		}
		// One that moves is behind, not stuck: once it has not reached in time what was there when it last caught up.
		for at := uint64(13); at < 40; at++ {
			state := StateLagging
			if at < 15 {
				state = StateOK
			}
			is(v(at+40, at+20, at), state, "")
			time.Sleep(svc.LanePatience / 2)
		}
		is(v(90, 90, 90), StateOK, "")
		// Work that never ends and is done in time is no lag.
		for at := uint64(90); at < 190; at += 10 {
			is(v(at+20, at+10, at), StateOK, "")
			time.Sleep(svc.LanePatience / 2)
		}
		j = &judge{}
		is(v(90, 90, 90), StateOK, "")

		// Nobody works on it: that shows without any work.
		gone := v(90, 90, 90)
		gone.indexer = owner{known: true, silent: bus.OwnerSilence}
		is(gone, StateStuck, bus.StuckNoOwner, "no indexer works on it")
		gone = v(90, 90, 90)
		gone.enricher = owner{known: true, name: "b", silent: bus.OwnerSilence}
		is(gone, StateStuck, bus.StuckNoOwner, "enricher b gives no sign of life")
		gone.enricher.known = false // what cannot be heard is no sign of death
		is(gone, StateOK, "")

		// What services say goes before what is guessed; the most downstream one is the reason.
		told := v(90, 90, 90)
		told.said = []said{
			{"indexer", bus.Why{Reason: bus.StuckParts, Why: "too many parts", Since: time.Now()}},
			{"enricher", bus.Why{Reason: bus.StuckFull, Why: "ENRICHED is full", Since: time.Now()}},
		}
		is(told, StateStuck, bus.StuckParts, "indexer: too many parts; enricher: ENRICHED is full")
		told.said[1] = said{"enricher", bus.Why{Reason: bus.StuckWentBack, Why: "RAW went back", Shut: true, Since: time.Now()}}
		is(told, StateShut, bus.StuckWentBack, "RAW went back")
		// A full stream comes of an indexer that is gone, and does not hide it. What was shut does.
		told = v(90, 90, 90)
		told.indexer = owner{known: true, silent: bus.OwnerSilence}
		told.said = []said{{"enricher", bus.Why{Reason: bus.StuckFull, Why: "ENRICHED is full", Since: time.Now()}}}
		is(told, StateStuck, bus.StuckNoOwner, "no indexer works on it")
		told.said[0] = said{"enricher", bus.Why{Reason: bus.StuckWentBack, Why: "RAW went back", Shut: true, Since: time.Now()}}
		is(told, StateShut, bus.StuckWentBack, "RAW went back")
		// What the door says of a shard goes before what is guessed of its owners, and after what they say.
		told = v(95, 90, 90)
		is(told, StateOK, "")
		time.Sleep(svc.LanePatience)
		told.said = []said{{"ingester", bus.Why{Reason: bus.StuckFull, Why: "RAW is full", Since: time.Now()}}}
		is(told, StateStuck, bus.StuckFull, "ingester: RAW is full")
		told.enricher = owner{known: true, silent: bus.OwnerSilence}
		is(told, StateStuck, bus.StuckNoOwner, "no enricher works on it")
		// Shut because of something that passes is stuck.
		told.said = []said{{"indexer", bus.Why{Reason: bus.StuckAway, Why: "refused", Shut: true, Since: time.Now()}}}
		is(told, StateStuck, bus.StuckAway)

		lost := v(90, 90, 90)
		lost.missing = "MILLRACE_RAW_0"
		is(lost, StateShut, bus.StuckWentBack, "no stream MILLRACE_RAW_0")
		is(v(80, 90, 90), StateShut, bus.StuckWentBack, "RAW ends at 80")
		is(v(90, 80, 90), StateShut, bus.StuckWentBack, "the ledger knows frame 90")
	})
}

func TestTheDoorIsJudgedByWhatItDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &judge{}
		is := func(v doorSight, state, reason, words string) {
			t.Helper()
			c := j.hearDoor(v, time.Now())
			if c.State != state || c.Reason != reason || !strings.Contains(c.Why, words) {
				t.Errorf("judged %+v, want %s %s and %q", c, state, reason, words)
			}
		}
		at := func(taken, last uint64) doorSight {
			return doorSight{taken: taken, last: last, ingesters: 1, known: true}
		}
		is(at(0, 0), StateOK, "", "")
		time.Sleep(time.Hour)
		is(at(3, 9), StateOK, "", "")
		time.Sleep(svc.LanePatience)
		is(at(3, 9), StateStuck, bus.StuckNoProgress, "acknowledged no message of the NATS door after 3")
		is(at(4, 12), StateLagging, "", "8 messages of the NATS door are not in RAW")
		is(at(12, 12), StateOK, "", "")
		nobody := doorSight{taken: 12, last: 20, silent: bus.OwnerSilence}
		is(nobody, StateOK, "", "") // what cannot be heard is no sign of death
		nobody.known = true
		is(nobody, StateStuck, bus.StuckNoOwner, "no ingester")
		nobody.silent--
		is(nobody, StateOK, "", "")
		told := at(12, 12)
		told.said = []said{{"ingester", bus.Why{Reason: bus.StuckNATS, Why: "it cannot be seen", Since: time.Now()}}}
		is(told, StateStuck, bus.StuckNATS, "it cannot be seen")
		told.missing = true
		is(told, StateShut, bus.StuckWentBack, "no stream")
	})
}

// A ClickHouse that hangs is one to which connections succeed and that says nothing.
func TestAQuestionToAClickHouseThatHangsIsGivenUp(t *testing.T) {
	db := reader.New(ClickHouse{URL: "http://127.0.0.1:1"})
	synctest.Test(t, func(t *testing.T) {
		p := newPulse(db)
		deaf := errors.New("no answer")
		p.note(nil, time.Now())
		asked, end, err := p.question(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer end()
		for range giveUpAfter/time.Second + 1 {
			if asked.Err() != nil {
				t.Fatalf("given up too soon: %v", context.Cause(asked))
			}
			p.note(deaf, time.Now())
			time.Sleep(time.Second)
		}
		p.note(deaf, time.Now())
		<-asked.Done()
		if err := context.Cause(asked); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "no sign of life for 1") {
			t.Errorf("given up because of %v", err)
		}
		if _, _, err := p.question(t.Context()); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "no answer") {
			t.Errorf("another question: %v", err)
		}
		if c := p.condition(); c.State != StateStuck || c.Reason != bus.StuckAway {
			t.Errorf("condition %+v", c)
		}
		p.note(nil, time.Now())
		again, end, err := p.question(t.Context())
		if err != nil || p.condition().State != StateOK {
			t.Fatalf("after it came back: %v, %+v", err, p.condition())
		}
		time.Sleep(time.Hour)
		if again.Err() != nil {
			t.Error("a question to a ClickHouse that lives is not bounded")
		}
		end()
	})
}

// Whatever answers /ping lives: what it says is for the questions.
func TestARefusalIsASignOfLife(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/ping" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer server.Close()
	if err := newPulse(reader.New(ClickHouse{URL: server.URL + "/"})).ask(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestStatusWhileNATSIsAway(t *testing.T) {
	r := newRig(t, 2)
	l := r.lane(0)
	l.block(part{}, part{})
	is := func(what string, ok func(Status) bool) {
		t.Helper()
		deadline := time.Now().Add(time.Minute)
		for {
			a := r.post("/v1/status", "", "", func(req *http.Request) { req.Method = http.MethodGet })
			var st Status
			if a.status == http.StatusOK && json.Unmarshal([]byte(a.body), &st) == nil && ok(st) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d %s", what, a.status, a.body)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	// There is no enricher and no indexer at all.
	is("nobody works on the shards", func(st Status) bool {
		return st.NATS.State == StateOK && st.ClickHouse.State == StateOK && st.Door.Reason == bus.StuckNoOwner &&
			st.Shards[0].State == StateStuck && st.Shards[0].Reason == bus.StuckNoOwner && st.Shards[0].Proven == 2
	})
	r.nats.Stop()
	is("the numbers of before, and why", func(st Status) bool {
		sh := st.Shards[0]
		return st.NATS.State == StateStuck && sh.State == StateStuck && sh.Reason == bus.StuckNATS && sh.Proven == 2 && !sh.Since.IsZero()
	})
	r.nats.Start()
	is("it is back", func(st Status) bool { return st.NATS.State == StateOK && st.Shards[0].Reason == bus.StuckNoOwner })
}

// A stream that somebody deleted is its shard's trouble and no silence of NATS: the others go on being seen.
func TestStatusOfAShardWhoseStreamIsGone(t *testing.T) {
	r := newRig(t, 3)
	r.lane(0).block(part{}, part{})
	is := func(what string, ok func(Status) bool) {
		t.Helper()
		var a answer
		testkit.Eventually(t, what, func() bool {
			a = r.post("/v1/status", "", "", func(req *http.Request) { req.Method = http.MethodGet })
			var st Status
			return a.status == http.StatusOK && json.Unmarshal([]byte(a.body), &st) == nil && st.NATS.State == StateOK && ok(st)
		})
		if t.Failed() {
			t.Log(a.body)
		}
	}
	gone := func(c ShardStatus) bool { return c.State == StateShut && c.Reason == bus.StuckWentBack && !c.Open }
	is("all is there", func(st Status) bool { return st.Shards[0].Proven == 2 && st.Shards[1].State != StateShut })
	remove := func(stream string) {
		t.Helper()
		if err := r.js.DeleteStream(t.Context(), stream); err != nil {
			t.Fatal(err)
		}
	}
	remove(r.inst.Names.StreamRaw(1))
	is("one shard is shut", func(st Status) bool {
		return gone(st.Shards[1]) && st.Shards[0].State != StateShut && st.Shards[2].State != StateShut && st.Shards[0].Proven == 2
	})
	remove(r.inst.Names.StreamIn())
	is("and the door", func(st Status) bool { return st.Door.State == StateShut && st.Door.Reason == bus.StuckWentBack })
	remove(r.inst.Names.StreamLedger())
	is("all shards without a ledger", func(st Status) bool { return gone(st.Shards[0]) && gone(st.Shards[1]) && gone(st.Shards[2]) })
	remove(r.inst.Names.StreamRaw(0))
	is("what says how many shards there are is gone as well", func(st Status) bool { return len(st.Shards) == 3 && gone(st.Shards[0]) })
}
