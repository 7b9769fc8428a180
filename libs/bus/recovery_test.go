package bus

import "testing"

// Messages that wait in IN keep the ids that they had, through several
// recoveries; a sequence that is given anew is never of a life that gave it
// before.
func TestLivesOfIn(t *testing.T) {
	i := Installation{Incarnation: 10}
	for _, tc := range []struct {
		to, last uint64            // the next recovery, and where IN ends then
		want     map[uint64]uint64 // incarnation by sequence afterwards
	}{
		{20, 100, map[uint64]uint64{1: 10, 100: 10, 101: 20}},
		{30, 150, map[uint64]uint64{100: 10, 101: 20, 150: 20, 151: 30}},
		{40, 120, map[uint64]uint64{100: 10, 101: 20, 120: 20, 121: 40, 151: 40}}, // an older IN
		{50, 0, map[uint64]uint64{1: 50, 121: 50}},                                // a new one
	} {
		i = i.Reborn(tc.to, tc.last)
		for seq, want := range tc.want {
			if got := i.InLife(seq); got != want {
				t.Errorf("after the recovery to %d, message %d is of life %d, want %d (%s)", tc.to, seq, got, want, i.Lives)
			}
		}
	}
}
