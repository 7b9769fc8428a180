package track

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
)

// TestEveryEventEndsOnce calls a client at random while the way to the stream
// fails at random, and holds it to its promise: each event is acknowledged and
// in the stream once, or reported once; what is reported without an attempt that
// might have stored it is not in the stream; the queue keeps its bounds; with
// one message in flight the order is that of the calls. The bubble of synctest
// fails the test if a goroutine is left.
func TestEveryEventEndsOnce(t *testing.T) {
	for seed := range uint64(300) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { live(t, rand.New(rand.NewPCG(6, seed))) })
		})
	}
}

func live(t *testing.T, r *rand.Rand) {
	var mu sync.Mutex // guards r: attempts are concurrent
	roll := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return r.IntN(n)
	}
	bad, lost, dead := 1+roll(100), roll(60), roll(400) == 0
	s := &stream{}
	s.fate = func(ctx context.Context, _ int) (bool, error) {
		select {
		case <-time.After(time.Duration(roll(30)) * time.Millisecond):
		case <-ctx.Done():
			return roll(2) == 0, ctx.Err()
		}
		switch {
		case dead && roll(20) == 0:
			return false, nats.ErrConnectionClosed
		case roll(100) < lost:
			return true, context.DeadlineExceeded
		case roll(100) < bad:
			return false, errAway
		}
		return true, nil
	}
	most, bytes, flight := 1+roll(60), 1000+roll(5000), 1+roll(4)
	c, reported := client(t, s, QueueLimit(most, bytes), Batch(1+roll(10), 200+roll(800)), MaxEvent(150), InFlight(flight),
		Linger(time.Duration(roll(20))*time.Millisecond), AckWait(20*time.Millisecond), GiveUpAfter(time.Duration(1+roll(2000))*time.Millisecond))
	futures := map[string]*Future{}
	n := 100 + roll(200)
	for i := range n {
		id := fmt.Sprint(i)
		m := Track{UserID: "ada", Event: "seen", MessageID: id}
		if roll(30) == 0 {
			m.Properties = Properties{"long": fmt.Sprintf("%200d", 1)}
		}
		futures[id] = c.Submit(t.Context(), m)
		if st := c.Stats(); st.Waiting > most || st.WaitingBytes > bytes || st.Queued != st.Acknowledged+st.NotStored+uint64(st.Waiting) {
			t.Fatalf("of %d events and %d bytes: %+v", most, bytes, st)
		}
		switch roll(20) {
		case 0:
			time.Sleep(time.Duration(roll(100)) * time.Millisecond)
		case 1:
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(roll(50))*time.Millisecond)
			_ = c.Flush(ctx) // in time or not
			cancel()
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(roll(3000))*time.Millisecond)
	defer cancel()
	_ = c.Close(ctx) // in time or not

	got := s.stored(t)
	seen := map[string]int{}
	for _, id := range got {
		seen[id]++
	}
	told := map[string]int{}
	for _, e := range reported.events {
		told[idOf(t, []byte(e))]++
	}
	for id, f := range futures {
		select {
		case <-f.Done():
		default:
			t.Fatalf("event %s has no end", id)
		}
		_, err := f.Wait(t.Context())
		if err == nil && (seen[id] != 1 || told[id] != 0) || err != nil && (told[id] != 1 || seen[id] > 1) {
			t.Errorf("event %s ended with %v: %d times in the stream, %d times reported", id, err, seen[id], told[id])
		}
	}
	byNumber := func(a, b string) int { x, _ := strconv.Atoi(a); y, _ := strconv.Atoi(b); return x - y }
	if flight == 1 && !slices.IsSortedFunc(got, byNumber) {
		t.Errorf("out of order: %v", got)
	}
	if q := c.queue; len(q.unended) != 0 || len(q.sealed) != 0 || q.open != nil {
		t.Errorf("the queue keeps %d, %d", len(q.unended), len(q.sealed))
	}
	st := c.Stats()
	if st.Waiting != 0 || st.WaitingBytes != 0 || st.Queued+st.QueueFull+st.TooLarge+st.Invalid+st.Closed != uint64(n) || s.top > flight {
		t.Errorf("%+v of %d, %d at once", st, n, s.top)
	}
}

// TestManyCallers is for the race detector.
func TestManyCallers(t *testing.T) {
	s := &stream{}
	c, r := client(t, s, QueueLimit(500, 32<<20), Batch(7, 128<<10))
	const callers, each = 8, 500
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for j := range each {
				f := c.Submit(t.Context(), event(fmt.Sprintf("%d-%d", i, j)))
				switch j % 50 {
				case 0:
					if err := c.Flush(t.Context()); err != nil {
						t.Error(err)
					}
				case 1:
					_, _ = f.Wait(t.Context()) // or refused
					c.Stats()
				}
			}
			if i == 0 {
				closed(t, c)
			}
		})
	}
	wg.Wait()
	got := s.stored(t)
	slices.Sort(got)
	if len(slices.Compact(got)) != len(s.stored(t)) || len(got)+r.len() != callers*each {
		t.Errorf("%d stored, %d different, %d reported", len(s.stored(t)), len(slices.Compact(got)), r.len())
	}
}
