package enricher

import (
	"flag"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/svc"
	"github.com/millrace/millrace/libs/testkit/explore"
)

const (
	modelIncarnation = 7
	// strictEvent is the size of an event that strict owners refuse from.
	strictEvent = 200
)

var modelNames = bus.Names{Prefix: bus.DefaultPrefix}

// scenario is what is explored.
type scenario struct {
	budget  explore.Budget
	pair    int  // owners that work at the same time
	lives   int  // owners there are at most, but for those that end the story
	hole    int  // the frame that RAW has lost, 0 for none
	strict  bool // every other owner refuses more
	variant variant

	raw     []*simMsg // by sequence-1; nil is missing
	oracles map[bool][]answered
	cfg     Config
	metrics *shardMetrics
	lanes   *svc.Lanes
}

// variant is a protocol that is wrong; the zero value is the right one.
type variant struct {
	unfenced  bool                      // ENRICHED takes every frame
	forgetful bool                      // a new owner does not read RAW back
	sent      func(o *owner, p *parcel) // what else happens when a frame is sent
}

// answered is what a frame of RAW must be answered with.
type answered struct {
	verdict string
	body    []byte
}

// frames of RAW: a good event, one that strict owners refuse, one that the door
// refused; a repeat and one that is not JSON; a good event and two repeats.
func (in *scenario) frames() {
	long := fmt.Sprintf(`{"event":"Viewed","messageId":"long","userId":"u","properties":{"text":%q}}`, strings.Repeat("x", strictEvent))
	for n, events := range [][]sent{
		{{body: track("m1", "u")}, {body: long}, {body: "x", reason: "malformed", detail: "no JSON"}},
		{{body: track("m1", "u")}, {body: "{"}},
		{{body: track("m2", "u")}, {body: track("m1", "u")}, {body: track("m2", "u")}},
	} {
		if n+1 == in.hole {
			in.raw = append(in.raw, nil)
			continue
		}
		msg := &simMsg{data: rawBody(events...), header: nats.Header{
			bus.HeaderCodec:  {strconv.Itoa(frame.Codec)},
			bus.HeaderEvents: {strconv.Itoa(len(events))},
			bus.HeaderFrame:  {fmt.Sprint("frame-", n+1)},
		}}
		msg.meta.Sequence.Stream, msg.meta.Timestamp = uint64(n+1), received.Add(time.Duration(n)*time.Second)
		in.raw = append(in.raw, msg)
	}
}

// oracle is what all of RAW must be answered with.
func (in *scenario) oracle(strict bool) []answered {
	if all, ok := in.oracles[strict]; ok {
		return all
	}
	limits := event.DefaultLimits()
	if strict {
		limits.MaxEvent = strictEvent
	}
	m := newMill(0, limits, 1<<20, newDedup(in.cfg.secret, in.cfg.DedupWindow, in.cfg.DedupMemory), nil)
	var all []answered
	for n, msg := range in.raw {
		v, body := frame.Verdict{Lost: true}, []byte(nil)
		if msg == nil {
			body = m.lost(nil)
		} else {
			f := &rawFrame{seq: uint64(n + 1), received: msg.meta.Timestamp, body: msg.data}
			f.header(msg.header.Get(bus.HeaderFrame), msg.header.Get(bus.HeaderCodec), msg.header.Get(bus.HeaderEvents))
			body, v = m.enrich(f, nil, nil)
		}
		all = append(all, answered{frame.Encode(&v), body})
	}
	in.oracles[strict] = all
	return all
}

// run explores the scenario.
func (in *scenario) run(t *testing.T, most int) (explore.Report, error) {
	t.Helper()
	reg := prometheus.NewRegistry()
	in.cfg = Config{Log: slog.New(slog.DiscardHandler), secret: newDedupKey()}
	in.cfg.Defaults()
	in.cfg.DedupMemory = 1 << 20
	in.metrics, in.lanes, in.oracles = newMetrics(reg).shard(0), svc.NewLanes("enricher", reg, bus.StuckReasons()...), map[bool][]answered{}
	in.frames()
	return explore.InBubble(t, in.budget, most, in.story)
}

// deeper raises what every story may suffer. One more takes many minutes.
var deeper = flag.Int("deeper", 0, "`faults` that each story of the model may suffer beyond the usual")

// exact fails the test if a story goes wrong. There are so many stories, or a
// few more: more than half as many again are not waited for, unless it was asked
// for more.
func (in *scenario) exact(t *testing.T, stories int) {
	t.Helper()
	most := stories * 3 / 2
	if *deeper > 0 {
		in.budget[fault] += int8(*deeper)
		most = 0
	}
	report, err := in.run(t, most)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d owners, %d of them at once, faults <= %d, turns <= %d: %s", in.lives, in.pair, in.budget[fault], in.budget[turn], report)
}

// caught fails the test unless a story goes wrong in the way that is named: else
// the model sees nothing.
func (in *scenario) caught(t *testing.T, how string) {
	t.Helper()
	report, err := in.run(t, 1000)
	if err == nil || !strings.Contains(err.Error(), how) {
		t.Fatalf("no story of this variant ends with %q: %s, %v", how, report, err)
	}
	t.Logf("caught: %v", err)
}

func TestEveryPlaceOfAFaultIsExact(t *testing.T) {
	(&scenario{pair: 1, lives: 3, budget: explore.Budget{fault: 2}}).exact(t, 1727)
}

func TestTwoOwnersInTurnsAreExact(t *testing.T) {
	t.Run("two turns", func(t *testing.T) {
		(&scenario{pair: 2, lives: 2, budget: explore.Budget{turn: 2}}).exact(t, 602)
	})
	t.Run("a turn and a fault", func(t *testing.T) {
		(&scenario{pair: 2, lives: 2, budget: explore.Budget{turn: 1, fault: 1}}).exact(t, 2584)
	})
}

func TestOwnersThatRefuseDifferentlyAreExact(t *testing.T) {
	t.Run("two turns", func(t *testing.T) {
		(&scenario{pair: 2, lives: 3, strict: true, budget: explore.Budget{turn: 2}}).exact(t, 638)
	})
	t.Run("one after the other", func(t *testing.T) {
		(&scenario{pair: 1, lives: 3, strict: true, budget: explore.Budget{fault: 1}}).exact(t, 63)
	})
}

func TestAFrameThatRawHasLostIsExact(t *testing.T) {
	for hole := 1; hole <= 2; hole++ {
		t.Run(fmt.Sprintf("frame %d, a turn", hole), func(t *testing.T) {
			(&scenario{pair: 2, lives: 2, hole: hole, budget: explore.Budget{turn: 1}}).exact(t, 26)
		})
		t.Run(fmt.Sprintf("frame %d, a fault", hole), func(t *testing.T) {
			(&scenario{pair: 1, lives: 2, hole: hole, budget: explore.Budget{fault: 1}}).exact(t, 53)
		})
	}
}
