package ingester

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event"
	"github.com/millrace/millrace/libs/event/frame"
)

func TestDivide(t *testing.T) {
	const all = 1 << 62
	for _, tc := range []struct {
		capacity int64
		wanted   []int64
		level    int64
	}{
		{100, nil, all},
		{100, []int64{100}, all},
		{100, []int64{101}, 100},
		{100, []int64{1000, 10}, 90},
		{100, []int64{1000, 10, 1000}, 45},
		{100, []int64{30, 40, 50}, 35},
		{0, []int64{10, 1}, 0},
	} {
		if got := divide(tc.capacity, slices.Clone(tc.wanted)); got != tc.level {
			t.Errorf("%d among %v: %d, want %d", tc.capacity, tc.wanted, got, tc.level)
		}
	}
}

// TestTheFlowIsShared: a second under pressure, in which each source comes every
// millisecond, or every hundredth.
func TestTheFlowIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFairness(&budget{max: 1 << 20}, 1)
		got := map[string]int64{}
		send := func(source string, bytes int64) {
			if f.admit(source, []demand{{bytes: bytes, capacity: 100_000}}, time.Now()) == nil {
				got[source] += bytes
			}
		}
		run := func(seconds int) {
			clear(got)
			for ms := range 1000 * seconds {
				send("noisy", 1000)
				send("loud", 1000)
				if ms%100 == 0 {
					send("modest", 500)
				}
				time.Sleep(time.Millisecond)
			}
		}
		run(10)
		// 5,000 of the 100,000 bytes a second are the modest one's, and the others
		// have the same part of the rest.
		if got["modest"] != 50_000 {
			t.Errorf("the modest source got %d of 50000 bytes", got["modest"])
		}
		for _, s := range []string{"noisy", "loud"} {
			if got[s] < 430_000 || got[s] > 530_000 {
				t.Errorf("%s got %d bytes, want about 475000", s, got[s])
			}
		}
		// Who has been silent is as good as new, and the clock may be set back.
		time.Sleep(2 * time.Second)
		if f.admit("noisy", []demand{{bytes: 1, capacity: 100}}, time.Now()) != nil {
			t.Error("what was used a while ago counts")
		}
		if f.admit("noisy", []demand{{bytes: 1, capacity: 0}}, time.Now().Add(-time.Hour)) != nil {
			t.Error("a clock that was set back shuts the door")
		}
		if len(f.shards[0].now)+len(f.shards[0].before) > 2 {
			t.Error("sources of long ago are remembered")
		}
		f.off = true
		run(1)
		if got["noisy"] != 1_000_000 {
			t.Errorf("switched off, the noisy source got %d bytes", got["noisy"])
		}
	})
}

// TestMemoryIsShared: one source with many bodies under way leaves room.
func TestMemoryIsShared(t *testing.T) {
	b := &budget{max: 1000 << 10}
	f := newFairness(b, 0)
	enter := func(source string, length int64) *seat {
		s, err := f.enter(source, length)
		if err != nil && !errors.Is(err, errFairShare) {
			t.Fatal(err)
		}
		return s
	}
	var noisy []*seat
	for range 100 {
		if s := enter("noisy", 20<<10); s != nil {
			noisy = append(noisy, s)
		}
	}
	if n := len(noisy); n < 12 || n > 25 {
		t.Errorf("%d bodies of 20 KiB are under way in 1000 KiB", n)
	}
	// A body that grows beyond what was announced is cut, unless it is the only one.
	if err := noisy[0].more(700 << 10); !errors.Is(err, errFairShare) {
		t.Errorf("a body that fills what is left: %v", err)
	}
	for _, who := range []string{"modest", "other"} {
		s := enter(who, 30<<10)
		if s == nil {
			t.Fatalf("%s finds no room", who)
		}
		if err := s.more(30 << 10); err != nil {
			t.Errorf("%s: %v", who, err)
		}
		if enter(who, 30<<10) != nil {
			t.Errorf("%s has a second seat although all is taken", who)
		}
		s.leave()
	}
	for _, s := range noisy {
		s.leave()
	}
	if f.total != 0 || len(f.held) != 0 {
		t.Errorf("%d bytes of %v are left", f.total, f.held)
	}
	// What others of the process take counts too.
	b.used.Store(b.max * 3 / 4)
	if one := enter("noisy", -1); one == nil || enter("noisy", 1<<20) == nil || enter("noisy", 1<<20) == nil || enter("noisy", 1<<20) != nil {
		t.Error("want three bodies of 64 KiB at least in a quarter of 1000 KiB, and not a fourth")
	}
}

// crowd sends from a noisy source on many connections, as fast as it can, and
// from a modest one ten times a second, and returns what became of both.
func crowd(t *testing.T, r *rig, noisyBody, modestBody func(i int) string, seconds int) (modestOK, modestAll int, noisy map[string]int) {
	t.Helper()
	const connections = 48
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}}
	defer client.CloseIdleConnections()
	send := func(key, body string) string {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+r.in.Addr()+pathEvents, strings.NewReader(body))
		if err != nil {
			return err.Error()
		}
		req.Header.Set("X-Write-Key", key)
		resp, err := client.Do(req)
		if err != nil {
			return "gone"
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		for _, code := range []string{"fair_share", "shard_full", "busy"} {
			if resp.StatusCode == http.StatusTooManyRequests && strings.Contains(string(text), `"`+code+`"`) {
				if resp.Header.Get("Retry-After") == "" {
					return "no Retry-After"
				}
				return code
			}
		}
		return fmt.Sprint(resp.StatusCode)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	noisy = map[string]int{}
	var n atomic.Int64
	for range connections {
		wg.Go(func() {
			for ctx.Err() == nil {
				code := send("k-app", noisyBody(int(n.Add(1))))
				mu.Lock()
				noisy[code]++
				mu.Unlock()
				if code != "200" {
					time.Sleep(time.Millisecond) // it does not wait as long as it was told, but leaves the machine to others
				}
			}
		})
	}
	codes := map[string]int{}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for i := range 10 * seconds {
		<-tick.C
		codes[send(testKey, modestBody(i))]++
		modestAll++
	}
	cancel()
	wg.Wait()
	t.Logf("modest %v, noisy %v", codes, noisy)
	return codes["200"], modestAll, noisy
}

// TestOneSourceDoesNotFillTheStream: nothing leaves the streams, which are
// four fifths full; the noisy source could fill the rest in a moment.
func TestOneSourceDoesNotFillTheStream(t *testing.T) {
	for _, off := range []bool{false, true} {
		t.Run(fmt.Sprintf("off=%v", off), func(t *testing.T) {
			r := startRig(t, startNATS(t), func(c *Config) { c.Plan.Shards = 1; c.Plan.Sizes.Raw = 40 << 20 }).opened()
			r.in.door.fair.off = off
			for range 329 { // 32.1 of 40 MiB
				if _, err := r.js.Publish(t.Context(), r.names.Raw(0), make([]byte, 100<<10)); err != nil {
					t.Fatal(err)
				}
			}
			eventually(t, "the door knows", func() bool {
				_, pressed := r.in.door.lanes[0].capacity()
				return pressed
			})
			bulk := `{"event":"e","userId":"u","properties":{"noise":"` + noise(28_000) + `"}}`
			ok, all, noisy := crowd(t, r, func(i int) string {
				return strings.Replace(bulk, `"u"`, fmt.Sprintf(`"u%d"`, i), 1)
			}, func(i int) string { return good(fmt.Sprint("u", i), i) }, 4)
			switch {
			case off && ok > all/2:
				t.Errorf("without fairness the modest source got %d of %d through: the test shows nothing", ok, all)
			case !off && ok < all-1:
				t.Errorf("the modest source got %d of %d through", ok, all)
			case !off && (noisy["fair_share"] == 0 || noisy["200"] == 0):
				t.Errorf("the noisy source was answered %v", noisy)
			}
		})
	}
}

// TestOneSourceDoesNotTakeTheMemory: the budget holds a few of the noisy
// source's bodies.
func TestOneSourceDoesNotTakeTheMemory(t *testing.T) {
	for _, off := range []bool{false, true} {
		t.Run(fmt.Sprintf("off=%v", off), func(t *testing.T) {
			r := startRig(t, startNATS(t), func(c *Config) {
				c.Limits = event.DefaultLimits()
				c.Limits.MaxRequest = 256 << 10
				c.MaxInFlight = 2 << 20
				c.Linger = 50 * time.Millisecond // what is under way stays in memory for a while
				c.Plan.Sizes.Raw = 512 << 20
			}).opened()
			r.in.door.fair.off = off
			row := `{"event":"e","userId":"u%d","properties":{"noise":"` + noise(28_000) + `"}}`
			body := func(i, rows int) string {
				var list []string
				for j := range rows {
					list = append(list, fmt.Sprintf(row, i+j))
				}
				return "[" + strings.Join(list, ",") + "]"
			}
			ok, all, noisy := crowd(t, r, func(i int) string { return body(i, 4) }, func(i int) string { return body(i, 6) }, 3)
			switch {
			case off && ok > all*3/4:
				t.Errorf("without fairness the modest source got %d of %d through: the test shows nothing", ok, all)
			case !off && ok < all-1:
				t.Errorf("the modest source got %d of %d through", ok, all)
			case !off && (noisy["fair_share"] == 0 || noisy["200"] == 0):
				t.Errorf("the noisy source was answered %v", noisy)
			}
		})
	}
}

// TestAPublisherDoesNotFillTheStream: the same over NATS, where what is shed
// waits in IN: the modest source gets in, and nothing is lost.
func TestAPublisherDoesNotFillTheStream(t *testing.T) {
	r := startRig(t, startNATS(t), func(c *Config) { c.Plan.Shards = 1; c.Plan.Sizes.Raw = 40 << 20 }).opened()
	for range 329 { // 32.1 of 40 MiB
		if _, err := r.js.Publish(t.Context(), r.names.Raw(0), make([]byte, 100<<10)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the door knows", func() bool {
		_, pressed := r.in.door.lanes[0].capacity()
		return pressed
	})
	text := noise(28_000)
	const messages = 300 // 8 MB, of which 1.6 would be taken
	for i := range messages {
		r.publish("noisy", fmt.Sprintf(`{"event":"e","userId":"u%d","properties":{"noise":%q}}`, i, text))
	}
	eventually(t, "the publisher is shed", func() bool { return counterValue(r.in.m.messages[messageDelayed]) > 0 })
	for i := range 20 {
		r.post(good(fmt.Sprint("u", i), i)).want(t, http.StatusOK)
	}
	if n := counterValue(r.in.m.messages[messageStored]); n >= messages {
		t.Errorf("all %v messages were taken at once: the test shows nothing", n)
	}
	stream, err := r.js.Stream(t.Context(), r.names.StreamRaw(0))
	if err != nil {
		t.Fatal(err)
	}
	if err := bus.Purge(t.Context(), r.js, r.names.StreamRaw(0), stream.CachedInfo().State.LastSeq); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all is stored", r.inEmpty)
	if n := counterValue(r.in.m.accepted[doorNATS]); n != messages {
		t.Errorf("%v events of the publisher are stored, want %d", n, messages)
	}
}

// TestAQuietPublisherIsServedUnderPressure: as many messages wait as may, all of
// them of a source that has had its part; the other's are taken meanwhile.
func TestAQuietPublisherIsServedUnderPressure(t *testing.T) {
	r := startRig(t, startNATS(t), func(c *Config) { c.Plan.Shards = 1; c.Plan.Sizes.Raw = 40 << 20 }).opened()
	for range 329 { // 32.1 of 40 MiB
		if _, err := r.js.Publish(t.Context(), r.names.Raw(0), make([]byte, 100<<10)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the door knows", func() bool {
		_, pressed := r.in.door.lanes[0].capacity()
		return pressed
	})
	r.in.door.delayed.Add(r.in.door.mostDelayed) // and they will not get fewer
	text := noise(28_000)
	for i := range 300 { // 8 MB, of which 1.6 would be taken
		r.publish("noisy", fmt.Sprintf(`{"event":"e","userId":"u%d","properties":{"noise":%q}}`, i, text))
	}
	delayed := r.in.m.messages[messageDelayed]
	stored, read := map[string]int{}, uint64(329)
	view := frame.NewView(frame.RawSchema)
	look := func(source string) int { // how many rows of it are in RAW, after what fills it
		raw, err := r.js.Stream(t.Context(), r.names.StreamRaw(0))
		if err != nil {
			t.Fatal(err)
		}
		for read < raw.CachedInfo().State.LastSeq {
			read++
			msg, err := raw.GetMsg(t.Context(), read)
			if err != nil {
				t.Fatal(err)
			}
			native, err := frame.Unpack(nil, msg.Data)
			if err == nil {
				err = view.Parse(native)
			}
			if err != nil {
				t.Fatal(err)
			}
			for i := range view.Rows() {
				stored[string(view.Str(frame.RawSource, i))]++
			}
		}
		return stored[source]
	}
	eventually(t, "the noisy publisher is shed", func() bool { return counterValue(delayed) > 0 })
	for i := range 5 {
		r.publish("quiet", good("quiet", i))
		eventually(t, "the quiet one's message is stored", func() bool {
			return look("quiet") == i+1
		})
	}
	if look("noisy") == 300 {
		t.Error("the noisy publisher's messages are all taken: the test shows nothing")
	}
	r.in.door.delayed.Add(-r.in.door.mostDelayed)
}
