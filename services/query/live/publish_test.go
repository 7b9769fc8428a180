package live

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestAgain: pauses grow while it fails, and begin anew after it went well for long.
func TestAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var pauses []time.Duration
		ended := time.Now()
		runs := 0
		err := again(ctx, func(context.Context) error {
			if runs++; runs > 1 {
				pauses = append(pauses, time.Since(ended))
			}
			switch runs {
			case 10:
				time.Sleep(time.Hour)
			case 13:
				cancel()
			}
			ended = time.Now()
			return errors.New("NATS is away")
		}, func(error) {})
		ms := time.Millisecond
		want := []time.Duration{
			200 * ms, 400 * ms, 800 * ms, 1600 * ms, 3200 * ms, 6400 * ms, 10000 * ms, 10000 * ms, 10000 * ms, 200 * ms, 400 * ms, 800 * ms,
		}
		if err != nil || !slices.Equal(pauses, want) {
			t.Errorf("pauses of %v, want %v; %v", pauses, want, err)
		}
	})
}
