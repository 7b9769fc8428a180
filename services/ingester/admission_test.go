package ingester

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/bus/sources"
)

func TestAFullStreamIsTooManyRequests(t *testing.T) {
	n := startNATS(t)
	r := startRig(t, n, func(c *Config) { c.Hold = 300 * time.Millisecond; c.Plan.Shards = 1; c.Plan.Sizes.Raw = 1 << 20 }).opened()
	// Beyond what admission can know: another writer has filled the stream.
	for size := 100_000; size > 100; {
		if _, err := r.js.Publish(t.Context(), r.names.Raw(0), make([]byte, size)); bus.IsFull(err) {
			size /= 10
		} else if err != nil {
			t.Fatalf("filling: %v", err)
		}
	}
	r.in.door.lanes[0].mu.Lock()
	r.in.door.lanes[0].fill.stored = 0
	r.in.door.lanes[0].mu.Unlock()
	a := r.post(`{"event":"e","userId":"u","properties":{"noise":"`+noise(30_000)+`"}}`).want(t, 429)
	if a.Problem.Code != "shard_full" || a.Header.Get("Retry-After") != "5" {
		t.Errorf("%v %s", a.Header, a.Body)
	}
	// From the next measurement on it is refused before anything is sent.
	eventually(t, "admission knows", func() bool { return errors.Is(r.in.door.lanes[0].admits(), errShardFull) })
	sent := counterValue(r.in.m.republished)
	r.post(good("u", 1)).want(t, 429)
	if counterValue(r.in.m.republished) != sent {
		t.Error("a request was sent although its shard is full")
	}
	if err := bus.Purge(t.Context(), r.js, r.names.StreamRaw(0), 1_000); err != nil {
		t.Fatal(err)
	}
	eventually(t, "room again", func() bool {
		a, err := r.try(good("u", 1))
		return err == nil && a.Status == 200
	})
}

// noise is text that no compression makes much smaller.
func noise(n int) string {
	b := make([]byte, n)
	x := uint64(88172645463325252)
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = '0' + byte(x%64)
		if b[i] == '\\' {
			b[i] = '~'
		}
	}
	return string(b)
}

func TestAdmissionIsAllOrNothing(t *testing.T) {
	n := startNATS(t)
	var closed atomic.Bool
	r := startRig(t, n, func(c *Config) {
		c.Admit = func() error {
			if closed.Load() {
				return errors.New("the disk budget is used up")
			}
			return nil
		}
	}).opened()

	l := r.in.door.lanes[1]
	l.mu.Lock()
	l.queued += l.fill.max // as if RAW_1 were full
	l.mu.Unlock()
	var mixed []string
	for i := range 20 {
		mixed = append(mixed, good(fmt.Sprint("u", i), i))
	}
	if a := r.post(strings.Join(mixed, "\n")).want(t, 429); a.Problem.Code != "shard_full" {
		t.Errorf("%s", a.Body)
	}
	if rows := r.raw(); len(rows) != 0 {
		t.Errorf("%d rows of a request that was refused", len(rows))
	}
	l.mu.Lock()
	l.queued -= l.fill.max
	l.mu.Unlock()

	closed.Store(true)
	a := r.post(good("u", 1)).want(t, 429)
	if a.Problem.Code != "not_admitted" || !strings.Contains(a.Problem.Detail, "the disk budget is used up") || a.Header.Get("Retry-After") == "" {
		t.Errorf("%s", a.Body)
	}
	closed.Store(false)

	if !r.in.budget.take(r.in.budget.max) {
		t.Fatal("the budget is not free")
	}
	if a := r.post(good("u", 1)).want(t, 429); a.Problem.Code != "busy" {
		t.Errorf("%s", a.Body)
	}
	r.in.budget.free(r.in.budget.max)

	r.in.door.refusals.burst = 3
	if a := r.post("[1,2,3]").want(t, 200); len(a.Rejected) != 3 {
		t.Errorf("%s", a.Body)
	}
	if a := r.post("[1,2,3,4]").want(t, 429); a.Problem.Code != "too_many_refused" {
		t.Errorf("%s", a.Body)
	}
	if a := r.post("["+good("u0", 1)+"]").want(t, 200); a.Accepted != 1 {
		t.Errorf("good events of a source with too many bad ones: %s", a.Body)
	}
	if a := r.post("[1,2]", "X-Write-Key", "k-app").want(t, 200); len(a.Rejected) != 2 {
		t.Errorf("another source: %s", a.Body)
	}
}

func TestRefusalsOfEverNewSourcesTakeNoEndlessMemory(t *testing.T) {
	r := newRefusals()
	now := time.Now()
	for i := range 3 * maxLimiters {
		if !r.allow(fmt.Sprint("s", i), 1, now) {
			t.Fatal("a new source is refused")
		}
	}
	if n := len(r.bySource); n > maxLimiters {
		t.Errorf("%d sources are kept", n)
	}
}

// TestWhatIsOverTheRateTakesNothingElse: it comes again, and with it what it
// would be refused for.
func TestWhatIsOverTheRateTakesNothingElse(t *testing.T) {
	r := startRig(t, startNATS(t), func(c *Config) { c.Plan.Shards = 1; c.Plan.Sizes.Raw = 16 << 20 }).opened()
	r.in.door.refusals.burst, r.in.door.refusals.perSecond = 50, 0
	r.register(sources.Record{Name: "web", Rate: sources.Rate{EventsPerSecond: 10, BurstSeconds: 60}})
	d, web, now := r.in.door, r.in.sources.Find("web"), time.Now()
	body := []byte("[" + strings.Repeat("1,", 9) + "1]")
	ask := func() error {
		in := newIntake(d.limits, 1)
		in.sources = r.in.sources
		in.start(origin{door: doorHTTP, source: "web"})
		if err := in.read(body); err != nil {
			t.Fatal(err)
		}
		return d.admit(in, now)
	}
	web.Take(now, 1200, 1) // a debt of a minute
	for range 10 {
		if p, ok := errors.AsType[*problem](ask()); !ok || p.Code != "rate_limited" {
			t.Fatalf("want it over its rate: %v", p)
		}
	}
	now = now.Add(time.Hour)
	for i := range 5 { // 50 refused events
		if err := ask(); err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
	}
	if err := ask(); !errors.Is(err, errRefusals) {
		t.Errorf("too many refused: %v", err)
	}
	// And one that is refused for something else takes nothing of the rate.
	if _, ok := web.Allows(now, 550, 1); !ok {
		t.Error("a request that was refused has taken of the rate")
	}
	if _, ok := web.Allows(now, 551, 1); ok {
		t.Error("the requests that were taken have taken nothing of the rate")
	}
}
