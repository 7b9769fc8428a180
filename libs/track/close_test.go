package track

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
)

func TestAFlushWaitsForOnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stream{fate: always(false, nats.ErrConnectionClosed)}
		told := 0
		c, _ := client(t, s, OnError(func([]byte, error) { time.Sleep(time.Second); told++ }))
		c.Track(t.Context(), event("0"))
		if err := c.Flush(t.Context()); err != nil || told != 1 {
			t.Errorf("%v, %d reported", err, told)
		}
		closed(t, c)
	})
}

func TestFlushWaitsForWhatWasBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stream{fate: func(_ context.Context, attempt int) (bool, error) {
			time.Sleep(time.Duration(attempt) * time.Second)
			return attempt != 2, errIf(attempt == 2, nats.ErrConnectionClosed)
		}}
		c, r := client(t, s, Batch(1, 128<<10), Linger(time.Hour))
		began := time.Now()
		for _, id := range numbers(3) {
			c.Track(t.Context(), event(id))
		}
		flushed := make(chan time.Duration)
		go func() {
			if err := c.Flush(t.Context()); err != nil {
				t.Error(err)
			}
			flushed <- time.Since(began)
		}()
		synctest.Wait()
		c.Track(t.Context(), event("later"))
		if took := <-flushed; took != 3*time.Second || r.len() != 1 {
			t.Errorf("it took %s, %d reported", took, r.len())
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := c.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("flush: %v", err)
		}
		closed(t, c)
		if got := s.stored(t); !slices.Contains(got, "later") {
			t.Errorf("a flush that was ended loses what it waited for: %v", got)
		}
	})
}

func errIf(yes bool, err error) error {
	if yes {
		return err
	}
	return nil
}

func TestCloseGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stream{fate: func(ctx context.Context, _ int) (bool, error) { <-ctx.Done(); return false, ctx.Err() }}
		c, r := client(t, s, Batch(1, 128<<10), InFlight(2))
		for _, id := range numbers(5) {
			c.Track(t.Context(), event(id))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		second := make(chan error)
		go func() { second <- c.Close(t.Context()) }()
		if err := c.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("close: %v after %s", err, time.Since(began))
		}
		if err := <-second; err != nil {
			t.Errorf("the other close: %v", err)
		}
		if st := c.Stats(); r.len() != 5 || st.NotStored != 5 || st.Waiting != 0 || len(s.attempts) != 2 {
			t.Errorf("%d reported, %d attempts, %+v", r.len(), len(s.attempts), st)
		}
		for _, err := range r.errs {
			if !errors.Is(err, ErrNotStored) || !errors.Is(err, context.Canceled) {
				t.Errorf("reported: %v", err)
			}
		}
		closed(t, c)
		if _, err := c.Submit(t.Context(), event("late")).Wait(t.Context()); !errors.Is(err, ErrClosed) || r.len() != 6 || c.Stats().Closed != 1 {
			t.Errorf("after close: %v, %d reported", err, r.len())
		}
		if err := c.Flush(t.Context()); err != nil {
			t.Errorf("flush after close: %v", err)
		}
	})
}

func TestOnErrorMayDoWhatItLikes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stream{fate: func(_ context.Context, attempt int) (bool, error) {
			return attempt > 1, errIf(attempt == 1, nats.ErrConnectionClosed)
		}}
		var c *Client
		calls := 0
		c, _ = client(t, s, InFlight(1), OnError(func(event []byte, err error) {
			switch calls++; calls {
			case 1:
				c.Submit(t.Context(), Raw(event)) // it comes once more
				c.Stats()
				panic("at will")
			case 2:
				runtime.Goexit()
			}
			t.Errorf("call %d: %s, %v", calls, event, err)
		}))
		c.Submit(t.Context(), event("0"))
		c.Submit(t.Context(), event("1"))
		if err := c.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		closed(t, c)
		if got := s.stored(t); !slices.Equal(got, []string{"0"}) || calls != 2 || c.Stats().Panics != 1 {
			t.Errorf("stored %v, %d calls, %+v", got, calls, c.Stats())
		}
	})
}
