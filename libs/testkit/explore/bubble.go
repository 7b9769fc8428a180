package explore

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// margin is what a test needs to tell of an exploration before `go test` ends
// it with nothing but stacks.
const margin = 10 * time.Second

var errDeadline = errors.New("the time limit of go test is near")

// InBubble is [Every] in simulated time, until shortly before the test's real
// time limit.
func InBubble(t *testing.T, budget Budget, most int, run func(s *Story) error) (r Report, err error) {
	t.Helper()
	ctx := t.Context()
	if end, limited := t.Deadline(); limited {
		// Made out here, where time is real.
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, end.Add(-margin), errDeadline)
		defer cancel()
	}
	synctest.Test(t, func(*testing.T) { r, err = Every(ctx, budget, most, run) })
	return r, err
}
