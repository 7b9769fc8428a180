package ingester

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/testkit/explore"
)

// The model runs the doors' way into RAW (put, lanes, publish, see; takeMessage
// for IN) against simulated streams in simulated time. What is promised: who
// was answered well, or had a message of IN acknowledged, finds every event of
// it in RAW, where the receipt says. docs/decisions/0006-model.md says what is
// inside the model and what is not.

const fault explore.Kind = 0

// modelHold is how long a request is held. A lost acknowledgement costs a third
// of it, so a story of a few faults ends in time and one of many does not.
const modelHold = 24 * time.Second

// shelf is the RAW streams, and what is on its way to them.
type shelf struct {
	*explore.Story
	jetstream.JetStream
	answers bool // a publish is taken for acknowledged when it is sent: wrong

	mu     sync.Mutex // guards wire
	wire   []*parcel
	late   []*parcel
	stored map[string][][]string // event ids of every frame, by subject
	known  map[string]uint64     // sequences by message id
	broken error
}

// parcel is a publish from its sending to its answer.
type parcel struct {
	subject, id string
	events      []string
	ok          chan *jetstream.PubAck
	fail        chan error
}

func (p *parcel) Ok() <-chan *jetstream.PubAck { return p.ok }
func (p *parcel) Err() <-chan error            { return p.fail }
func (*parcel) Msg() *nats.Msg                 { return nil }

// PublishMsgAsync copies what it is given, as the client does: the frame's memory
// is used again.
func (s *shelf) PublishMsgAsync(msg *nats.Msg, _ ...jetstream.PublishOpt) (jetstream.PubAckFuture, error) {
	p := &parcel{
		subject: msg.Subject, id: msg.Header.Get(nats.MsgIdHdr), events: idsOf(msg.Data),
		ok: make(chan *jetstream.PubAck, 1), fail: make(chan error, 1),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wire = append(s.wire, p)
	if s.answers {
		p.ok <- &jetstream.PubAck{Sequence: 1}
	}
	return p, nil
}

func idsOf(body []byte) (ids []string) {
	native, err := frame.Unpack(nil, body)
	view := frame.NewView(frame.RawSchema)
	if err == nil {
		err = view.Parse(native)
	}
	if err != nil {
		panic(err)
	}
	for r := range view.Rows() {
		_, after, _ := strings.Cut(string(view.Str(frame.RawBody, r)), `"messageId":"`)
		id, _, _ := strings.Cut(after, `"`)
		ids = append(ids, id)
	}
	return ids
}

// store is what JetStream does: of one message id it stores one message.
func (s *shelf) store(p *parcel) *jetstream.PubAck {
	if seq, ok := s.known[p.id]; ok {
		return &jetstream.PubAck{Sequence: seq, Duplicate: true}
	}
	s.stored[p.subject] = append(s.stored[p.subject], p.events)
	s.known[p.id] = uint64(len(s.stored[p.subject]))
	return &jetstream.PubAck{Sequence: s.known[p.id]}
}

// arrive decides the fate of all that was sent, shard by shard; false when
// there was nothing.
func (s *shelf) arrive() bool {
	s.mu.Lock()
	wire := s.wire
	s.wire = nil
	s.mu.Unlock()
	// Shards wait for random times; their order is nobody's decision.
	slices.SortStableFunc(wire, func(a, b *parcel) int { return cmp.Compare(a.subject, b.subject) })
	for _, p := range wire {
		ways := []string{"arrives", "is lost", "arrives, its reply is lost", "is refused, the stream is full", "is late"}
		way := s.Fault(fault, len(ways))
		s.Tell("%v %s", p.events, ways[way])
		switch way {
		case 0:
			p.ok <- s.store(p)
		case 2:
			s.store(p)
		case 3:
			p.fail <- &jetstream.APIError{Code: 503, ErrorCode: 10077, Description: "maximum bytes exceeded"}
		case 4:
			s.late = append(s.late, p)
		}
	}
	return len(wire) > 0
}

// holds checks that events are where a receipt says, all of them: of each shard
// it names the last frame.
func (s *shelf) holds(names bus.Names, events []string, at []bus.Place) {
	var there []string
	for _, p := range at {
		frames := s.stored[names.Raw(p.Shard)]
		if p.Seq == 0 || int(p.Seq) > len(frames) {
			s.broken = errors.Join(s.broken, fmt.Errorf("the receipt of %v names frame %d of shard %d, RAW has %d", events, p.Seq, p.Shard, len(frames)))
			return
		}
		there = append(there, slices.Concat(frames[:p.Seq]...)...)
	}
	for _, id := range events {
		if !slices.Contains(there, id) {
			s.broken = errors.Join(s.broken, fmt.Errorf("event %s was accepted and is not where its receipt says", id))
		}
	}
}

// posted is a message of IN.
type posted struct {
	jetstream.Msg
	s      *shelf
	names  bus.Names
	events []string
	told   int
	acked  bool
}

func (m *posted) Metadata() (*jetstream.MsgMetadata, error) {
	return &jetstream.MsgMetadata{Sequence: jetstream.SequencePair{Stream: 5}, NumDelivered: 1}, nil
}
func (m *posted) Subject() string      { return m.names.In("shop") }
func (m *posted) Headers() nats.Header { return nil }
func (m *posted) Data() []byte         { return []byte(bodyOf(m.events)) }

func (m *posted) NakWithDelay(time.Duration) error {
	m.told++
	return nil
}

func (m *posted) Ack() error {
	m.told, m.acked = m.told+1, true
	var everywhere []bus.Place
	for shard := range modelShards {
		if n := len(m.s.stored[m.names.Raw(shard)]); n > 0 {
			everywhere = append(everywhere, bus.Place{Shard: shard, Seq: uint64(n)})
		}
	}
	m.s.holds(m.names, m.events, everywhere)
	return nil
}

const modelShards = 2

// bodyOf is a request with an event of each id, of users of different shards.
func bodyOf(ids []string) string {
	var lines []string
	for _, id := range ids {
		lines = append(lines, fmt.Sprintf(`{"event":"Viewed","messageId":%q,"userId":%q}`, id, "user "+id))
	}
	return "[" + strings.Join(lines, ",") + "]"
}

// doorStories explores one message of IN and one request that share frames.
func doorStories(t *testing.T, faults int8, most int, answers bool) (explore.Report, error) {
	t.Helper()
	cfg := Config{Log: discard(), Hold: modelHold}.withDefaults()
	b := &budget{max: cfg.MaxInFlight}
	m := newMetrics(prometheus.NewRegistry(), b)
	inst := bus.Installation{Names: bus.Names{Prefix: bus.DefaultPrefix}, Shards: modelShards, Sinks: 1, Incarnation: 7}
	story := func(e *explore.Story) error {
		s := &shelf{Story: e, answers: answers, stored: map[string][][]string{}, known: map[string]uint64{}}
		d := newDoor(&cfg, inst, s, 1<<20, b, nil, m)
		var lanes sync.WaitGroup
		for _, l := range d.lanes {
			lanes.Go(l.run)
		}
		msg := &posted{s: s, names: inst.Names, events: []string{"a", "b", "c", "d"}}
		d.takeMessage(msg, func() {})
		request, asked, answered := []string{"e", "f", "g", "h"}, 0, false
		done := func(at bus.Receipt, err error) {
			asked++
			if answered = err == nil; answered {
				s.holds(inst.Names, request, at.Places)
			}
		}
		if err := d.take(bodyOf(request), done); err != nil {
			return err
		}
		for range 60 {
			synctest.Wait()
			if s.arrive() {
				continue
			}
			if len(s.late) > 0 && s.Choose(explore.Free, explore.Free) == 1 {
				s.Tell("%v arrives late", s.late[0].events)
				s.store(s.late[0])
				s.late = s.late[1:]
				continue
			}
			time.Sleep(lastDelay)
		}
		d.drain(&lanes)
		switch {
		case s.broken != nil:
			return s.broken
		case msg.told != 1 || asked != 1:
			return fmt.Errorf("the message was answered %d times, the request %d times", msg.told, asked)
		case e.Left(fault) == int(faults) && (!msg.acked || !answered):
			return errors.New("nothing was broken, and not everything was accepted")
		}
		return nil
	}
	return explore.InBubble(t, explore.Budget{fault: faults}, most, story)
}

// deeper raises what every story may suffer.
var deeper = flag.Int("deeper", 0, "`faults` that each story of the model may suffer beyond the usual")

func TestWhoIsAnsweredIsStored(t *testing.T) {
	most := 9000 // half as many again as there are
	if *deeper > 0 {
		most = 0
	}
	report, err := doorStories(t, int8(2+*deeper), most, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("a message and a request, faults <= %d: %s", 2+*deeper, report)
}

func TestTheModelCatchesAnAnswerBeforeTheAcknowledgement(t *testing.T) {
	_, err := doorStories(t, 1, 1000, true)
	if err == nil || !strings.Contains(err.Error(), "RAW has 0") && !strings.Contains(err.Error(), "is not where") {
		t.Fatalf("no story of an event that is lost: %v", err)
	}
	t.Logf("caught: %v", err)
}
