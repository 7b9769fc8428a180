package explore

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

const (
	crash Kind = iota
	pause
)

func TestEveryListOfDecisionsWithinTheBudgetIsRun(t *testing.T) {
	var all []string
	report, err := Every(t.Context(), Budget{crash: 1, pause: 1}, 0, func(s *Story) error {
		var way []byte
		for range 3 {
			way = append(way, ".cp"[s.Choose(Free, crash, pause)])
		}
		all = append(all, string(way))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	want := []string{"...", "..c", "..p", ".c.", ".cp", ".p.", ".pc", "c..", "c.p", "cp.", "p..", "p.c", "pc."}
	if !slices.Equal(all, want) || report.Stories != len(want) || report.Longest != 3 {
		t.Errorf("%v, %+v, want %v", all, report, want)
	}
}

func TestFreeDecisionsAreExploredInFull(t *testing.T) {
	report, err := Every(t.Context(), Budget{}, 0, func(s *Story) error {
		for range 4 {
			s.Choose(Free, Free)
		}
		if s.Fault(crash, 3) != 0 {
			return errors.New("a fault that nothing is left for")
		}
		return nil
	})
	if err != nil || report.Stories != 16 {
		t.Errorf("%+v, %v; want 16 stories", report, err)
	}
}

// Two counters that are raised by 8 each, in any order: C(16, 8) orders, but
// 9 × 9 states.
func counters(bad func(a, b, faults int) bool) func(s *Story) error {
	return func(s *Story) error {
		a, b, faults := 0, 0, 0
		for a < 8 || b < 8 {
			if s.Seen(func() uint64 { return uint64(100*a + b + 10_000*faults) }) {
				return nil
			}
			switch {
			case b == 8:
				a++
			case a == 8:
				b++
			case s.Choose(Free, Free) == 0:
				a++
			default:
				b++
			}
			if s.Fault(crash, 2) == 1 {
				faults++
			}
			s.Tell("a=%d b=%d", a, b)
			if bad(a, b, faults) {
				return errors.New("bad")
			}
		}
		return nil
	}
}

func TestAStateIsExploredOnce(t *testing.T) {
	report, err := Every(t.Context(), Budget{}, 0, counters(func(int, int, int) bool { return false }))
	if err != nil || report.Stories > 100 || report.States != 80 {
		t.Errorf("%+v, %v; want 80 states and few stories", report, err)
	}
}

// A state seen with nothing left to spend hides a fault that comes later if it
// is taken for explored.
func TestAStateIsExploredAgainWithMoreLeft(t *testing.T) {
	for a := 1; a < 8; a++ { // two steps at least
		for b := range 8 {
			_, err := Every(t.Context(), Budget{crash: 2}, 0, counters(func(x, y, faults int) bool { return x == a+1 && y == b && faults == 2 }))
			if err == nil {
				t.Errorf("two faults by the time of (%d, %d) are not found", a+1, b)
			}
		}
	}
}

func TestAFailureTellsItsStory(t *testing.T) {
	_, err := Every(t.Context(), Budget{crash: 1}, 0, counters(func(a, b, faults int) bool { return a == 2 && b == 1 && faults == 1 }))
	if err == nil || !strings.Contains(err.Error(), "a=2 b=1") || strings.Contains(err.Error(), "a=3") {
		t.Errorf("%v", err)
	}
}

func TestAnExplorationThatIsTooLongIsBrokenOff(t *testing.T) {
	report, err := Every(t.Context(), Budget{}, 5, counters(func(int, int, int) bool { return false }))
	if !errors.Is(err, ErrUnfinished) || report.Stories != 5 || report.States == 0 {
		t.Errorf("%+v, %v; want an end after 5 stories", report, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("no time is left")
	report, err = Every(ctx, Budget{}, 0, func(s *Story) error {
		if s.Choose(Free, Free) == 1 {
			cancel(why)
		}
		return nil
	})
	if err != nil || report.Stories != 2 {
		t.Errorf("%+v, %v; want both stories, the second was the last", report, err)
	}
	if report, err = Every(ctx, Budget{}, 0, func(*Story) error { return nil }); !errors.Is(err, ErrUnfinished) || !errors.Is(err, why) {
		t.Errorf("%+v, %v; want an end because of %v", report, err, why)
	}
}

func TestAProgramThatIsNotDeterministicIsFound(t *testing.T) {
	runs := 0
	_, err := Every(t.Context(), Budget{crash: 2}, 0, func(s *Story) error {
		runs++
		s.Fault(crash, 2)
		if runs%2 == 1 {
			s.Fault(crash, 3)
		}
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "deterministic") {
		t.Errorf("%v", err)
	}
}
