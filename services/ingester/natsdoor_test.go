package ingester

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event"
)

// publish sends a message to the NATS door and returns its place in IN.
func (r *rig) publish(source, body string, header ...string) uint64 {
	r.t.Helper()
	msg := &nats.Msg{Subject: r.names.In(source), Data: []byte(body), Header: nats.Header{}}
	for i := 0; i < len(header); i += 2 {
		msg.Header[header[i]] = []string{header[i+1]}
	}
	ack, err := r.js.PublishMsg(r.t.Context(), msg)
	if err != nil {
		r.t.Fatal(err)
	}
	return ack.Sequence
}

// inEmpty says whether IN holds no message, and so none that waits.
func (r *rig) inEmpty() bool {
	s, err := r.js.Stream(r.t.Context(), r.names.StreamIn())
	if err != nil {
		r.t.Fatal(err)
	}
	return s.CachedInfo().State.Msgs == 0
}

func TestMessagesOfTheNATSDoor(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	one, two := good("u1", 1), good("u2", 2)
	inc := r.in.door.inst.Incarnation
	for _, c := range []struct {
		name   string
		source string
		body   string
		header []string
		want   []string // bodies in RAW
		reason string   // of all of them
	}{
		{"one event", "web", one, nil, []string{one}, ""},
		{"array", "web", "[" + one + "," + two + "]", nil, []string{one, two}, ""},
		{"ndjson", "web", one + "\n" + two, nil, []string{one, two}, ""},
		{"ndjson by header", "web", two + "\n", []string{"Content-Type", "application/x-ndjson"}, []string{two}, ""},
		{"gzip", "web", gzipped(t, one), []string{"Content-Encoding", "gzip"}, []string{one}, ""},
		{"zstd, header in small letters", "web", zstded(t, one), []string{"content-encoding", "zstd"}, []string{one}, ""},
		{"gzip nobody announced", "web", gzipped(t, one), nil, []string{one}, ""},
		{"empty array", "web", "[]", nil, nil, ""},
		{"bad event", "web", `{"event":"e"}`, nil, []string{`{"event":"e"}`}, "no_user"},
		{"unreadable", "web", "{" + one, nil, []string{"{" + one}, "malformed"},
		{"empty", "web", "", nil, []string{""}, "malformed"},
		{"not utf-8", "web", "\xff\x00\x01", nil, []string{"\xff\x00\x01"}, "malformed"},
		{"broken gzip", "web", "plain", []string{"Content-Encoding", "gzip"}, []string{"plain"}, "decompression"},
		{"unknown encoding", "web", "\x0b\x02", []string{"Content-Encoding", "br"}, []string{"\x0b\x02"}, "decompression"},
		{"a label that is wrong", "web", one, []string{"Content-Encoding", "br"}, []string{one}, ""},
		{"bomb", "web", gzipped(t, strings.Repeat(" ", 64<<20)), nil, []string{gzipped(t, strings.Repeat(" ", 64<<20))}, "too_large"},
		{"too many", "web", many(10_001), nil, []string{many(10_001)}, "too_many_events"},
		{"a token that is no source", "größe", one, nil, []string{one}, "malformed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			seq := r.publish(c.source, c.body, c.header...)
			eventually(t, "acknowledged", r.inEmpty)
			rows := r.fresh()
			if got := bodies(rows); !slices.Equal(got, c.want) {
				t.Errorf("RAW has %.100q, want %.100q", got, c.want)
			}
			for _, row := range rows {
				source := c.source
				if bus.ValidSource(source) != nil {
					source = invalidSource
				}
				if row.Source != source || row.Door != "nats" || row.InSeq != seq || row.IP != "" || row.UserAgent != "" || row.Reason != c.reason {
					t.Errorf("row %+v", row)
				}
				index := max(slices.Index(c.want, row.Body), 0)
				if want := event.DerivedID(inc, seq, index); row.ID != want {
					t.Errorf("id %s, want %s", row.ID, want)
				}
			}
		})
	}
}

// TestCloudEventsOverNATS: headers tell them, in whatever case they are written.
func TestCloudEventsOverNATS(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	structured := func(id string) string {
		return `{"specversion":"1.0","id":"` + id + `","source":"/shop","type":"order","subject":"u1","data":{"total":9.5}}`
	}
	binary := []string{"ce-specversion", "1.0", "ce-id", "b-1", "ce-source", "/shop", "ce-type", "order", "ce-subject", "u1"}
	for _, c := range []struct {
		name, body string
		header     []string
		accepted   int
		refused    []string // bodies
		reason     string
	}{
		{"structured", structured("a"), []string{"Content-Type", "application/cloudevents+json; charset=utf-8"}, 1, nil, ""},
		{"structured, small letters", structured("a"), []string{"content-type", "application/cloudevents+json"}, 1, nil, ""},
		{"batched", "[" + structured("a") + "," + structured("b") + "]", []string{"Content-Type", "application/cloudevents-batch+json"}, 2, nil, ""},
		{"batched, one bad", "[" + structured("a") + ",7]", []string{"Content-Type", "application/cloudevents-batch+json"}, 1, []string{"7"}, "not_an_object"},
		{"gzip", gzipped(t, structured("a")), []string{"Content-Type", "application/cloudevents+json", "Content-Encoding", "gzip"}, 1, nil, ""},
		{"binary", `{"total":9.5}`, append([]string{"ce-datacontenttype", "application/json"}, binary...), 1, nil, ""},
		{"binary, as HTTP writes it", `{"total":9.5}`, []string{"Ce-Specversion", "1.0", "Ce-Id", "b-1", "Ce-Source", "/shop", "Ce-Type", "order", "Ce-Subject", "u1", "Content-Type", "application/json"}, 1, nil, ""},
		{"unreadable", "{", []string{"Content-Type", "application/cloudevents+json"}, 0, []string{"{"}, "malformed"},
		{"not said", structured("a"), nil, 0, []string{structured("a")}, "bad_type"},
	} {
		t.Run(c.name, func(t *testing.T) {
			seq := r.publish("web", c.body, c.header...)
			eventually(t, "acknowledged", r.inEmpty)
			accepted, refused := 0, []string(nil)
			for _, row := range r.fresh() {
				if row.Door != "nats" || row.InSeq != seq || row.Source != "web" {
					t.Errorf("row %+v", row)
				}
				if row.Reason == "" {
					accepted++
					for _, want := range []string{`"event":"order"`, `"userId":"u1"`, `9.5`} {
						if !strings.Contains(row.Body, want) {
							t.Errorf("no %s in %s", want, row.Body)
						}
					}
					continue
				}
				refused = append(refused, row.Body)
				if row.Reason != c.reason {
					t.Errorf("refused %+v", row)
				}
			}
			if accepted != c.accepted || !slices.Equal(refused, c.refused) {
				t.Errorf("%d accepted, refused %q", accepted, refused)
			}
		})
	}
}

// TestMessagesWaitWhileRawIsFull: nothing is lost, the ids of what was tried
// several times are the same, and the publishers are refused once IN is full.
func TestMessagesWaitWhileRawIsFull(t *testing.T) {
	r := startRig(t, startNATS(t), func(c *Config) {
		c.Hold = 200 * time.Millisecond
		c.Plan.Shards, c.Plan.Sizes.Raw, c.Plan.Sizes.In = 1, 256<<10, 128<<10
	}).opened()
	for size := 100_000; size > 0; { // until not even a header fits
		if _, err := r.js.Publish(t.Context(), r.names.Raw(0), make([]byte, size)); bus.IsFull(err) {
			size /= 10
		} else if err != nil {
			t.Fatal(err)
		}
	}
	l := r.in.door.lanes[0]
	const first = 40
	for i := range first { // before admission knows: these are tried and given back
		l.mu.Lock()
		l.fill.stored = 0
		l.mu.Unlock()
		r.publish("web", good("u", i))
	}
	eventually(t, "admission knows", func() bool { return l.admits() != nil })
	refused := false
	sent := first
	for range 1_000 {
		msg := `{"event":"e","userId":"u","properties":{"n":"` + noise(4_000) + `"}}`
		if _, err := r.js.Publish(t.Context(), r.names.In("web"), []byte(msg)); err != nil {
			refused = bus.IsFull(err)
			break
		}
		sent++
	}
	if !refused {
		t.Error("IN takes messages without end")
	}
	if r.inEmpty() {
		t.Error("IN is empty although RAW is full")
	}
	s, err := r.js.Stream(t.Context(), r.names.StreamRaw(0))
	if err != nil {
		t.Fatal(err)
	}
	last := s.CachedInfo().State.LastSeq
	if err := bus.Purge(t.Context(), r.js, r.names.StreamRaw(0), last+1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all is taken", r.inEmpty)
	ids := map[string]bool{}
	for _, row := range r.raw() {
		ids[row.ID] = true
	}
	if len(ids) != sent {
		t.Errorf("%d distinct events, want %d", len(ids), sent)
	}
}

// TestARedeliveredMessageIsARepeat: its acknowledgement to IN was lost.
func TestARedeliveredMessageIsARepeat(t *testing.T) {
	n := startNATS(t)
	r := startRig(t, n).opened()
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	seq := r.publish("web", good("u", 1)+"\nbroken")
	// Somebody takes it, stores it as the ingester does, and dies before the
	// acknowledgement.
	c, err := r.js.Consumer(t.Context(), r.names.StreamIn(), r.names.DurableIngester())
	if err != nil {
		t.Fatal(err)
	}
	msg, err := c.Next()
	if err != nil {
		t.Fatal(err)
	}
	in := newIntake(event.DefaultLimits(), 2)
	if _, err := r.in.door.readMessage(in, msg, seq); err != nil {
		t.Fatal(err)
	}
	var firstIDs []string
	for i := range in.rows {
		firstIDs = append(firstIDs, string(in.idOf(&in.rows[i])))
	}
	if err := msg.Nak(); err != nil { // instead of waiting for AckWait
		t.Fatal(err)
	}
	again := startRig(t, n).opened()
	eventually(t, "taken again", again.inEmpty)
	var ids []string
	for _, row := range again.raw() {
		ids = append(ids, row.ID)
		if row.InSeq != seq {
			t.Errorf("row %+v", row)
		}
	}
	slices.Sort(ids)
	slices.Sort(firstIDs)
	if len(ids) != 2 || !slices.Equal(ids, firstIDs) {
		t.Errorf("ids %v, the first time %v", ids, firstIDs)
	}
}

// TestAMessageLargerThanRawCanCarryIsRefusedToItsPublisher: what IN takes,
// RAW can carry.
func TestAMessageLargerThanRawCanCarryIsRefusedToItsPublisher(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	s, err := r.js.Stream(t.Context(), r.names.StreamIn())
	if err != nil {
		t.Fatal(err)
	}
	most := int(s.CachedInfo().Config.MaxMsgSize)
	if most != r.in.door.limits.MaxRequest {
		t.Fatalf("IN takes %d bytes", most)
	}
	if _, err := r.js.Publish(t.Context(), r.names.In("web"), make([]byte, most+1)); err == nil {
		t.Error("taken")
	}
	r.publish("web", strings.Repeat("\xff", most-200)) // the subject counts too
	eventually(t, "taken", r.inEmpty)
	if rows := r.raw(); len(rows) != 1 || len(rows[0].Body) != most-200 || rows[0].Reason != "malformed" {
		t.Errorf("%d rows", len(rows))
	}
}

// TestStoppingLosesNoMessage: publishers go on while ingesters come and go.
func TestStoppingLosesNoMessage(t *testing.T) {
	n := startNATS(t)
	r := startRig(t, n).opened()
	const total = 3_000
	published := make(chan error, 1)
	js, subject := r.js, r.names.In("web")
	go func() {
		var err error
		for i := range total {
			if _, err = js.PublishAsync(subject, []byte(good(fmt.Sprint("u", i%50), i)), jetstream.WithStallWait(time.Minute)); err != nil {
				break
			}
		}
		<-js.PublishAsyncComplete()
		published <- err
	}()
	for range 3 {
		next := startRig(t, n).opened()
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		r = next
	}
	if err := <-published; err != nil {
		t.Fatal(err)
	}
	eventually(t, "all is taken", r.inEmpty)
	ids := map[string]bool{}
	rows := r.raw()
	for _, row := range rows {
		ids[row.ID] = true
	}
	if len(ids) != total {
		t.Errorf("%d distinct events in %d rows, want %d", len(ids), len(rows), total)
	}
}

// TestTheDelayOfAMessageThatComesAgain does not grow for a source that has had
// its part.
func TestTheDelayOfAMessageThatComesAgain(t *testing.T) {
	for _, c := range []struct {
		delivered   uint64
		cause       error
		least, most time.Duration
		hadPart     bool
	}{
		{1, errFairShare, time.Second, 1500 * time.Millisecond, true},
		{100, errFairShare, time.Second, 1500 * time.Millisecond, true},
		{100, limited(time.Second), time.Second, 1500 * time.Millisecond, true},
		{1, limited(20 * time.Second), 20 * time.Second, 21 * time.Second, true},
		{1, limited(time.Hour), lastNak, lastNak + time.Second, true},
		{1, errShardFull, 200 * time.Millisecond, 200 * time.Millisecond, false},
		{100, errNoAck, lastNak, lastNak, false},
	} {
		seen := map[time.Duration]bool{}
		for range 100 {
			delay, hadPart := delayOf(c.delivered, c.cause)
			if delay < c.least || delay > c.most || hadPart != c.hadPart {
				t.Fatalf("%v, delivered %d times: %s, %v", c.cause, c.delivered, delay, hadPart)
			}
			seen[delay] = true
		}
		if (len(seen) > 1) != c.hadPart {
			t.Errorf("%v: %d different delays", c.cause, len(seen))
		}
	}
}
