package svc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// The delays of Retry: short enough at first to be invisible in a restart of
// the other side, and never so long that its return goes unnoticed.
const (
	retryFirst = 50 * time.Millisecond
	retryLast  = 5 * time.Second
)

// Retry calls fn until it returns nil, a Permanent error, or ctx is done,
// waiting 50 ms at first and up to 5 s later, half of it by chance. It logs
// the first failure and the recovery, not what lies between. what continues
// "cannot ...": "connect to nats".
func Retry(ctx context.Context, log *slog.Logger, what string, fn func(context.Context) error) error {
	delays := backoff.NewExponentialBackOff()
	delays.InitialInterval = retryFirst
	delays.MaxInterval = retryLast
	delays.Multiplier = 2
	delays.RandomizationFactor = 0.5

	var since time.Time
	var last error
	attempts := 0
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		attempts++
		last = fn(ctx)
		return struct{}{}, last
	}, backoff.WithBackOff(delays), backoff.WithMaxElapsedTime(0), backoff.WithNotify(func(err error, _ time.Duration) {
		if since.IsZero() {
			since = time.Now()
			log.Warn("retrying", "what", what, "err", err)
		}
	}))
	switch {
	case err == nil && !since.IsZero():
		log.Info("recovered", "what", what, "attempts", attempts, "after", time.Since(since).String())
	case err != nil && ctx.Err() != nil && last != nil && !errors.Is(last, ctx.Err()):
		return fmt.Errorf("%s: %w; last tried: %w", what, err, last)
	case err != nil:
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// Permanent marks an error that a repetition cannot mend: Retry returns it.
func Permanent(err error) error { return backoff.Permanent(err) }
