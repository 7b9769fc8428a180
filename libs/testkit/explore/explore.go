package explore

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Kind of a decision that costs. A story spends at most so many of each kind
// as its budget says.
type Kind int

// Free decisions cost nothing.
const Free Kind = -1

// maxKinds is how many kinds there may be.
const maxKinds = 4

// Budget is how many decisions of each kind a story may take, by kind.
type Budget [maxKinds]int8

// within says whether b is nowhere more than o.
func (b Budget) within(o Budget) bool {
	for k := range b {
		if b[k] > o[k] {
			return false
		}
	}
	return true
}

// Report says how much was explored.
type Report struct {
	Stories int // runs from the beginning
	States  int // different ones, as far as the program named them
	Longest int // decisions in one story
}

func (r Report) String() string {
	return fmt.Sprintf("%d stories, %d states, up to %d decisions in one", r.Stories, r.States, r.Longest)
}

// Story is one run.
type Story struct {
	path  []int8   // decisions to take; beyond it, the first option
	asked [][]Kind // the questions so far
	left  []Budget // what was left at each
	have  Budget   // what is left now
	seen  *states  // of all stories
	told  []string // if telling
	tell  bool     // this one is run again to hear how it goes
	wrong error    // the program is not deterministic
}

type states map[uint64][]Budget

// Choose asks which of the options is taken; kinds says what each costs. The
// first must be free: it is what happens when nothing is decided.
func (s *Story) Choose(kinds ...Kind) int {
	i, took := len(s.asked), 0
	s.asked, s.left = append(s.asked, kinds), append(s.left, s.have)
	if i < len(s.path) {
		took = int(s.path[i])
	}
	if took >= len(kinds) {
		s.wrong = fmt.Errorf("explore: question %d had more options before: the program is not deterministic", i)
		return 0
	}
	if k := kinds[took]; k != Free {
		s.have[k]--
	}
	return took
}

// Fault asks which of so many ways something goes; all but the first cost one
// of a kind.
func (s *Story) Fault(kind Kind, ways int) int {
	kinds := make([]Kind, ways)
	kinds[0] = Free
	for i := 1; i < ways; i++ {
		kinds[i] = kind
	}
	return s.Choose(kinds...)
}

// Left is how many decisions of a kind may still be taken.
func (s *Story) Left(kind Kind) int { return int(s.have[kind]) }

// Seen says whether the story can be broken off because its future has been
// explored. state stands for all that this future depends on; it is called only
// where that is asked.
func (s *Story) Seen(state func() uint64) bool {
	if s.tell || len(s.asked) < len(s.path) {
		return false // on the way to what is to be explored
	}
	now := state()
	all := (*s.seen)[now]
	keep := all[:0:0]
	for _, b := range all {
		if s.have.within(b) {
			return true
		}
		if !b.within(s.have) {
			keep = append(keep, b)
		}
	}
	(*s.seen)[now] = append(keep, s.have)
	return false
}

// Tell notes a line for the report of a failure. The text is made only when
// the story is told.
func (s *Story) Tell(format string, args ...any) {
	if s.tell {
		s.told = append(s.told, fmt.Sprintf(format, args...))
	}
}

// ErrUnfinished says that an exploration was broken off: what it has not seen may
// be wrong.
var ErrUnfinished = errors.New("explore: broken off")

// Every runs the program with every list of decisions within the budget, until
// it returns an error, which then holds what the story told. It is of the first
// list found that fails; another may be shorter. More stories than most, 0 for
// any number, or the end of ctx is [ErrUnfinished].
func Every(ctx context.Context, budget Budget, most int, run func(s *Story) error) (r Report, err error) {
	seen := states{}
	defer func() { r.States = len(seen) }()
	// The order of a stack: what was decided last is varied first.
	work := [][]int8{nil}
	for len(work) > 0 {
		switch {
		case ctx.Err() != nil:
			return r, fmt.Errorf("%w after %d stories and with %d in sight: %w", ErrUnfinished, r.Stories, len(work), context.Cause(ctx))
		case most > 0 && r.Stories == most:
			return r, fmt.Errorf("%w: there are more than %d stories; either the program has more to decide now, or states are no longer recognised", ErrUnfinished, most)
		}
		next := work[len(work)-1]
		work = work[:len(work)-1]
		s := &Story{path: next, have: budget, seen: &seen}
		r.Stories++
		err := run(s)
		if err = errors.Join(s.wrong, err); err != nil {
			return r, again(next, budget, run, err)
		}
		if len(s.asked) < len(s.path) {
			return r, fmt.Errorf("explore: %d questions where there were %d: the program is not deterministic", len(s.asked), len(s.path))
		}
		r.Longest = max(r.Longest, len(s.asked))
		for i := len(s.asked) - 1; i >= len(s.path); i-- {
			for option := len(s.asked[i]) - 1; option > 0; option-- {
				if k := s.asked[i][option]; k != Free && s.left[i][k] == 0 {
					continue
				}
				path := make([]int8, i+1)
				copy(path, s.path)
				path[i] = int8(option)
				work = append(work, path)
			}
		}
	}
	return r, nil
}

// again runs a story that failed once more, to hear how it went.
func again(path []int8, budget Budget, run func(s *Story) error, failed error) error {
	s := &Story{path: path, have: budget, seen: &states{}, tell: true}
	if err := run(s); err == nil {
		return fmt.Errorf("explore: decisions %v failed once and not again, the program is not deterministic: %w", path, failed)
	}
	return fmt.Errorf("%w\ndecisions %v:\n  %s", failed, path, strings.Join(s.told, "\n  "))
}
