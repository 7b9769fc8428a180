package svc

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged strings.Builder
		log := slog.New(slog.NewTextHandler(&logged, nil))
		var gaps []time.Duration
		last := time.Now()
		err := Retry(t.Context(), log, "connect to nats", func(context.Context) error {
			gaps = append(gaps, time.Since(last))
			last = time.Now()
			if len(gaps) < 20 {
				return errors.New("refused")
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, gap := range gaps[1:] {
			// The delay before chance: 50 ms doubled each time, at most 5 s.
			mean := min(retryFirst<<i, retryLast)
			if gap < mean/2 || gap > mean*3/2 {
				t.Errorf("gap %d is %s, want %s give or take half", i+1, gap, mean)
			}
		}
		if n := strings.Count(logged.String(), "\n"); n != 2 || !strings.Contains(logged.String(), "attempts=20") {
			t.Errorf("want one line for the trouble and one for its end, got\n%s", logged.String())
		}
	})
}

func TestRetryEnds(t *testing.T) {
	refused := errors.New("refused")
	check := func(name string, fn func(context.Context) error, want ...error) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			err := Retry(ctx, discard(), "connect", fn)
			for _, w := range want {
				if !errors.Is(err, w) {
					t.Errorf("%s: got %v, want %v in it", name, err, w)
				}
			}
			if len(want) == 0 && err != nil {
				t.Errorf("%s: got %v", name, err)
			}
		})
	}
	check("at once", func(context.Context) error { return nil })
	check("permanent", func(context.Context) error { return Permanent(refused) }, refused)
	check("context over while waiting", func(context.Context) error { return refused }, context.DeadlineExceeded, refused)
	check("context over while trying", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, context.DeadlineExceeded)
}
