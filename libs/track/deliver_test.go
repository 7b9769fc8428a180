package track

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
)

var errAway = errors.New("away")

func always(stored bool, err error) func(context.Context, int) (bool, error) {
	return func(context.Context, int) (bool, error) { return stored, err }
}

func numbers(n int) (ids []string) {
	for i := range n {
		ids = append(ids, strconv.Itoa(i))
	}
	return ids
}

func TestEventsShareMessages(t *testing.T) {
	check := func(events, messages int, opts ...Option) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			s := &stream{}
			c, _ := client(t, s, append(opts, InFlight(1))...)
			for _, id := range numbers(events) {
				c.Track(t.Context(), event(id))
			}
			time.Sleep(5 * time.Millisecond)
			synctest.Wait()
			if got := s.stored(t); !slices.Equal(got, numbers(events)) {
				t.Errorf("stored are %v", got)
			}
			if len(s.messages) != messages || !s.subjects["millrace.in.shop"] {
				t.Errorf("%d events are %d messages on %v, want %d", events, len(s.messages), s.subjects, messages)
			}
			closed(t, c)
		})
	}
	one := len(`{"type":"track","messageId":"0","timestamp":"2000-01-01T00:00:00.000Z","userId":"ada","event":"seen"}` + "\n")
	check(1, 1)
	check(10, 1)
	check(9, 3, Batch(4, 128<<10))
	check(9, 3, Batch(1000, 3*one), MaxEvent(one))
	check(9, 5, Batch(1000, 3*one-1), MaxEvent(one))
}

func TestALonelyEventWaitsForOthersNotLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stream{}
		c, _ := client(t, s, Linger(20*time.Millisecond))
		began := time.Now()
		c.Track(t.Context(), event("0"))
		time.Sleep(19 * time.Millisecond)
		c.Track(t.Context(), event("1"))
		time.Sleep(time.Minute)
		c.Track(t.Context(), event("2"))
		if err := c.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		got := []time.Duration{s.attempts[0].Sub(began), s.attempts[1].Sub(began)}
		if want := []time.Duration{20 * time.Millisecond, time.Minute + 19*time.Millisecond}; !slices.Equal(got, want) {
			t.Errorf("sent after %v, want %v: a flush lingers not at all", got, want)
		}
		closed(t, c)
	})
}

func TestEventsGatherWhileAllMessagesAreInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stream{fate: func(context.Context, int) (bool, error) { time.Sleep(time.Second); return true, nil }}
		c, _ := client(t, s, InFlight(2), Linger(0))
		for _, id := range numbers(50) {
			c.Track(t.Context(), event(id))
			time.Sleep(10 * time.Millisecond)
		}
		closed(t, c)
		if s.top != 2 || len(s.messages) > 4 || len(s.stored(t)) != 50 {
			t.Errorf("%d at once, %d messages, %d events", s.top, len(s.messages), len(s.stored(t)))
		}
	})
}

func TestAttemptsGrowAreCappedAndEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stream{fate: always(false, errAway)}
		c, r := client(t, s, GiveUpAfter(time.Minute))
		began := time.Now()
		f := c.Submit(t.Context(), event("0"))
		_, err := f.Wait(t.Context())
		if took := time.Since(began); took > time.Minute || took < 57*time.Second {
			t.Errorf("given up after %s", took)
		}
		if !errors.Is(err, ErrNotStored) || !errors.Is(err, errAway) || r.len() != 1 || !errors.Is(r.errs[0], err) || idOf(t, []byte(r.events[0])) != "0" {
			t.Errorf("%v; reported are %q, %v", err, r.events, r.errs)
		}
		before := time.Duration(0)
		for i := 1; i < len(s.attempts); i++ {
			pause := s.attempts[i].Sub(s.attempts[i-1])
			if most := min(firstDelay<<min(i-1, 10), lastDelay); pause < most/2 || pause > most {
				t.Errorf("pause %d is %s, want %s to %s", i, pause, most/2, most)
			}
			before = max(before, pause)
		}
		st := c.Stats()
		if st.NotStored != 1 || st.Waiting != 0 || st.WaitingBytes != 0 || st.Retries != uint64(len(s.attempts)-1) || !errors.Is(st.LastError, errAway) {
			t.Errorf("%+v after %d attempts", st, len(s.attempts))
		}
		closed(t, c)
	})
}

// What waited behind others has its own time, but is tried at least once.
func TestWhatWaitsIsGivenUpInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stream{fate: always(false, errAway)}
		c, r := client(t, s, GiveUpAfter(time.Minute), InFlight(1), Batch(1, 128<<10))
		began := time.Now()
		for _, id := range numbers(30) {
			c.Track(t.Context(), event(id))
		}
		if err := c.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > time.Minute || r.len() != 30 || len(s.attempts) < 30 {
			t.Errorf("%d are reported after %s and %d attempts", r.len(), took, len(s.attempts))
		}
		closed(t, c)
	})
}

func TestAnAttemptThatIsNotAnsweredIsRepeatedUnderTheSameID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stream{}
		s.fate = func(ctx context.Context, attempt int) (bool, error) {
			if attempt%3 != 0 { // stored, but nobody says so
				<-ctx.Done()
				return true, ctx.Err()
			}
			return true, nil
		}
		c, r := client(t, s, InFlight(1), Batch(5, 128<<10), AckWait(3*time.Second))
		began := time.Now()
		for _, id := range numbers(20) {
			c.Track(t.Context(), event(id))
		}
		closed(t, c)
		if got := s.stored(t); !slices.Equal(got, numbers(20)) || len(s.attempts) != 12 || r.len() != 0 {
			t.Errorf("stored are %v in %d attempts, %d reported", got, len(s.attempts), r.len())
		}
		if took := time.Since(began); took < 24*time.Second || took > 26*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

// The caller's own ids are of events: a message that begins with an event that was sent before is another message.
func TestTwoMessagesWithTheSameEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stream{}
		c, _ := client(t, s, Batch(2, 128<<10), InFlight(1))
		for _, id := range []string{"0", "1", "0", "2"} {
			c.Track(t.Context(), Track{UserID: "ada", Event: "seen", MessageID: id, Timestamp: time.Unix(0, 0)})
		}
		closed(t, c)
		if got := s.stored(t); !slices.Equal(got, []string{"0", "1", "0", "2"}) {
			t.Errorf("stored are %v", got)
		}
	})
}

func TestWhatCannotGetBetterIsNotRepeated(t *testing.T) {
	check := func(cause, want error) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			s := &stream{fate: always(false, fmt.Errorf("publish: %w", cause))}
			c, r := client(t, s)
			c.Track(t.Context(), event("0"))
			closed(t, c)
			if len(s.attempts) != 1 || r.len() != 1 || !errors.Is(r.errs[0], ErrNotStored) || !errors.Is(r.errs[0], want) {
				t.Errorf("%d attempts, reported %v", len(s.attempts), r.errs)
			}
		})
	}
	check(nats.ErrConnectionClosed, nats.ErrConnectionClosed)
	check(nats.ErrConnectionDraining, nats.ErrConnectionDraining)
	check(nats.ErrMaxPayload, ErrTooLarge)
}

func TestReceipts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := client(t, &stream{}, Batch(2, 128<<10), InFlight(1))
		var all []*Future
		for _, id := range numbers(4) {
			all = append(all, c.Submit(t.Context(), event(id)))
			select {
			case <-all[0].Done():
				if len(all) == 1 {
					t.Error("a future is done before its message is sent")
				}
			default:
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
		defer cancel()
		<-ctx.Done()
		for i, f := range all {
			r, err := f.Wait(t.Context())
			if want := fmt.Sprintf("in:%d", i/2+1); err != nil || r.String() != want || r.MessageID != strconv.Itoa(i) {
				t.Errorf("receipt %d is %v, %v, want %s", i, r, err, want)
			}
			if _, err := f.Wait(ctx); err != nil {
				t.Errorf("it has come, but: %v", err)
			}
		}
		if r, err := c.Submit(t.Context(), event("5")).Wait(ctx); !errors.Is(err, context.DeadlineExceeded) || r.String() != "" {
			t.Errorf("%v, %v", r, err)
		}
		closed(t, c)
	})
}

// A server with a smaller max_payload bounds what comes after it was seen.
func TestMessagesFitIntoTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stream{max: 1024 + headerRoom}
		c, r := client(t, s)
		for _, id := range numbers(100) {
			c.Track(t.Context(), event(id))
		}
		c.Track(t.Context(), Track{UserID: "ada", Event: "seen", Properties: Properties{"text": strings.Repeat("x", 1024)}})
		closed(t, c)
		for _, m := range s.messages {
			if len(m) > 1024 {
				t.Errorf("a message has %d bytes", len(m))
			}
		}
		if len(s.stored(t)) != 100 || r.len() != 1 || !errors.Is(r.errs[0], ErrTooLarge) {
			t.Errorf("%d stored, reported %v", len(s.stored(t)), r.errs)
		}
	})
}
