package ingester

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event"
)

// memoryDoor is a door whose lanes nobody runs, so that frames stay where
// tests can see them.
func memoryDoor(tb testing.TB, shards int, change ...func(*Config)) *door {
	tb.Helper()
	cfg := Config{Log: discard()}.withDefaults()
	for _, f := range change {
		f(&cfg)
	}
	b := &budget{max: cfg.MaxInFlight}
	return newDoor(&cfg, bus.Installation{Shards: shards, Incarnation: 7}, nil, 8<<20, b, nil, newMetrics(prometheus.NewRegistry(), b))
}

// take reads a body and puts it into the lanes as one request.
func (d *door) take(body string, done func(bus.Receipt, error)) error {
	in := d.intakes.Get().(*intake)
	defer d.intakes.Put(in)
	in.start(origin{door: doorHTTP, source: "shop"})
	if err := in.read([]byte(body)); err != nil {
		return err
	}
	return d.put(in, time.Now().Add(time.Hour), done)
}

func ignore(bus.Receipt, error) {}

// inAnHour is a clock by which every frame that lingers is due.
func inAnHour() time.Time { return time.Now().Add(time.Hour) }

// The bubble's clock stands still between the requests, whatever the machine does.
func TestWhenAFrameLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := memoryDoor(t, 1, func(c *Config) { c.Linger = 50 * time.Millisecond; c.FrameEvents = 3; c.FrameBytes = 2_000 })
		l := d.lanes[0]
		now := time.Now()
		expect := func(step string, at time.Time, rows int) {
			t.Helper()
			p, wait, over := l.next(func() time.Time { return at })
			got := 0
			if p != nil {
				got = p.block.Rows()
			}
			if got != rows || over {
				t.Fatalf("%s: a frame of %d rows (wait %s, over %v), want %d", step, got, wait, over, rows)
			}
			if p == nil && l.open != nil && l.flying < maxFlying && (wait <= 0 || wait > time.Hour) {
				t.Fatalf("%s: waits for %s", step, wait)
			}
		}
		put := func(n int) {
			t.Helper()
			if err := d.take("["+strings.TrimSuffix(strings.Repeat(good("u", 1)+",", n), ",")+"]", ignore); err != nil {
				t.Fatal(err)
			}
		}
		later := now.Add(time.Minute)
		expect("nothing there", now, 0)
		put(1)
		put(1)
		expect("before the linger time is over", now, 0)
		expect("after it", later, 2)
		put(5)
		expect("full by events", now, 3)
		expect("the rest lingers", now, 0)
		put(1)
		expect("the rest, joined by another request", later, 3)
		if err := d.take(strings.Replace(good("u", 1), "}", `,"properties":{"a":"`+strings.Repeat("x", 5_000)+`"}}`, 1), ignore); err != nil {
			t.Fatal(err)
		}
		expect("larger than a frame: alone and at once", now, 1)
		for l.flying < maxFlying {
			put(3)
			expect("until enough are in flight", now, 3)
		}
		put(3)
		put(3)
		expect("enough are in flight", later, 0)
		l.mu.Lock()
		l.flying--
		l.mu.Unlock()
		expect("one is finished", later, 3)
		l.stop()
		if err := l.state(); err != nil {
			t.Error(err)
		}
		if err := l.add(nil, 0, nil, now, now); !errors.Is(err, errDraining) {
			t.Errorf("add after stop: %v", err)
		}
	})
}

func TestATicketIsDoneOnceAndByTheLastFrame(t *testing.T) {
	var got []string
	tk := newTicket(func(r bus.Receipt, err error) { got = append(got, fmt.Sprint(r, " ", err)) })
	for range 3 {
		tk.join()
	}
	tk.finish(bus.Place{Shard: 1, Seq: 5}, nil)
	tk.added(nil)
	tk.finish(bus.Place{Shard: 0, Seq: 9}, nil)
	if len(got) != 0 {
		t.Fatalf("done early: %v", got)
	}
	tk.finish(bus.Place{Shard: 1, Seq: 6}, nil)
	if want := []string{"0:9,1:6 <nil>"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	got = nil
	failed := newTicket(func(_ bus.Receipt, err error) { got = append(got, err.Error()) })
	failed.join()
	failed.finish(bus.Place{}, errShardFull)
	failed.added(errNoAck)
	if len(got) != 1 || got[0] != errShardFull.Error() {
		t.Errorf("the first error is the one to tell: %v", got)
	}
}

func TestManySmallRequestsShareFrames(t *testing.T) {
	r := startRig(t, startNATS(t), func(c *Config) { c.Linger = 200 * time.Millisecond; c.Plan.Shards = 1 }).opened()
	var wg sync.WaitGroup
	const n = 50
	for i := range n {
		wg.Go(func() {
			a, err := r.try(good(fmt.Sprint("u", i), i))
			if err != nil || a.Status != 200 || a.Accepted != 1 {
				t.Errorf("%+v %v", a, err)
			}
		})
	}
	wg.Wait()
	frames := map[string]int{}
	for _, row := range r.raw() {
		frames[row.FrameID]++
		if row.EventsN == "" || row.EventsN == "0" {
			t.Errorf("header of events: %+v", row)
		}
	}
	if len(frames) > n/5 {
		t.Errorf("%d requests took %d frames", n, len(frames))
	}
	for _, row := range r.raw() {
		if strconv.Itoa(frames[row.FrameID]) != row.EventsN {
			t.Errorf("a frame of %d rows says %s", frames[row.FrameID], row.EventsN)
		}
	}
}

// TestOneUserKeepsTheOrder: within a request that takes many frames, and
// between requests that were awaited.
func TestOneUserKeepsTheOrder(t *testing.T) {
	r := startRig(t, startNATS(t), func(c *Config) { c.FrameEvents = 7; c.Linger = time.Millisecond }).opened()
	next := 0
	for range 20 {
		var events []string
		for range 50 {
			events = append(events, good("u", next))
			next++
		}
		r.post(strings.Join(events, "\n")).want(t, 200)
	}
	rows := r.raw()
	if len(rows) != next {
		t.Fatalf("%d rows, want %d", len(rows), next)
	}
	for i, row := range rows {
		var e struct{ Event string }
		if err := json.Unmarshal([]byte(row.Body), &e); err != nil || e.Event != fmt.Sprint("e", i) {
			t.Fatalf("row %d is %s", i, row.Body)
		}
	}
}

func TestTheBudgetComesBack(t *testing.T) {
	r := startRig(t, startNATS(t)).opened()
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 10 {
				if a, err := r.try(many(100 + i)); err != nil || a.Status != 200 {
					t.Errorf("%d %v", a.Status, err)
				}
			}
		})
	}
	wg.Wait()
	eventually(t, "all bytes are given back", func() bool { return r.in.budget.used.Load() == 0 })
	for _, l := range r.in.door.lanes {
		l.mu.Lock()
		if l.queued != 0 || l.flying != 0 || l.open != nil {
			t.Errorf("lane %d: %d bytes queued, %d in flight", l.shard, l.queued, l.flying)
		}
		l.mu.Unlock()
	}
}

// TestAnAcknowledgementBelowTheFloorCloses tells the harmless kinds of a low
// sequence from the one that closes a shard.
func TestAnAcknowledgementBelowTheFloorCloses(t *testing.T) {
	for _, c := range []struct {
		name      string
		ack       jetstream.PubAck
		floor     uint64
		wantErr   bool
		wantClose bool
	}{
		{"the next", jetstream.PubAck{Sequence: 6}, 5, false, false},
		{"acknowledged out of order", jetstream.PubAck{Sequence: 4}, 3, false, false},
		{"a repetition that was known", jetstream.PubAck{Sequence: 4, Duplicate: true}, 5, false, false},
		{"a repetition that is being decided", jetstream.PubAck{Duplicate: true}, 5, true, false},
		{"given twice", jetstream.PubAck{Sequence: 5}, 5, true, true},
	} {
		l := memoryDoor(t, 1).lanes[0]
		err := l.inspect(&c.ack, c.floor)
		if (err != nil) != c.wantErr || errors.Is(err, errShardClosed) != c.wantClose || (l.state() != nil) != c.wantClose {
			t.Errorf("%s: %v, state %v", c.name, err, l.state())
		}
	}
}

// TestAcceptingAllocatesNothingPerEvent: what a request allocates grows with
// its frames, not with its events.
func TestAcceptingAllocatesNothingPerEvent(t *testing.T) {
	d := memoryDoor(t, 2)
	in := newIntake(event.DefaultLimits(), 2)
	perRequest := func(n int) float64 {
		body := []byte(strings.ReplaceAll(many(n), `"e"`, `"e","messageId":"m"`))
		return testing.AllocsPerRun(20, func() {
			in.start(origin{door: doorHTTP, source: "shop"})
			if err := in.read(body); err != nil {
				t.Fatal(err)
			}
			if err := d.put(in, time.Now().Add(time.Hour), ignore); err != nil {
				t.Fatal(err)
			}
			for _, l := range d.lanes {
				for {
					p, _, _ := l.next(inAnHour)
					if p == nil {
						break
					}
					l.finish(p, 1, nil)
				}
			}
		})
	}
	perRequest(2_000)
	if few, lots := perRequest(10), perRequest(1_000); lots > few+200 { // the pools lose some to the race detector
		t.Errorf("10 events take %v allocations, 1,000 take %v", few, lots)
	}
}
