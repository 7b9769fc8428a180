package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// compare prints two reports side by side: `bench compare A.json B.json`.
func compare(w io.Writer, args []string) error {
	if len(args) != 2 {
		return errors.New("compare: want two reports: bench compare A.json B.json")
	}
	a, err := readReport(args[0])
	if err != nil {
		return err
	}
	b, err := readReport(args[1])
	if err != nil {
		return err
	}
	return compareReports(w, args, a, b)
}

func compareReports(w io.Writer, names []string, a, b *report) error {
	for i, r := range []*report{a, b} {
		fmt.Fprintf(w, "%c: %s of %s, millrace %s, machine index %.0f ns, %s\n", 'A'+i, names[i], r.At.Format("2006-01-02 15:04"),
			r.Versions["millrace"], r.usualIndex(), r.Machine)
	}
	found := false
	for _, name := range a.names() {
		ours, theirs := a.of(name), b.of(name)
		if len(theirs) == 0 {
			continue
		}
		found = true
		fmt.Fprintf(w, "\n%s (%d and %d runs)\n\n| figure | A | B | B / A | |\n|---|---|---|---|---|\n", name, len(ours), len(theirs))
		for _, f := range figuresOf(ours) {
			one, two := figure(ours, f), figure(theirs, f)
			if two.n == 0 || one.median == 0 {
				continue
			}
			fmt.Fprintf(w, "| %s | %s | %s | %.2f | %s |\n", f, one, two, two.median/one.median, verdict(f, one, two))
		}
	}
	if !found {
		return errors.New("compare: the two reports have no part in common")
	}
	fmt.Fprintln(w, "\nFigures are medians with the least and the largest run. A difference counts only where the runs of A and B do not overlap.")
	return nil
}

// usualIndex is the median of the machine index.
func (r *report) usualIndex() float64 {
	var all []float64
	for _, run := range r.Runs {
		all = append(all, run.index())
	}
	return summarise(all).median
}

// verdict is what can be said about a difference: nothing, unless every run of
// one report is beyond every run of the other, and there are some of each.
func verdict(name string, a, b summary) string {
	var larger bool
	switch {
	case a.n < 3 || b.n < 3:
		return "too few runs"
	case b.least > a.top:
		larger = true
	case b.top < a.least:
		larger = false
	default:
		return "within the spread"
	}
	switch {
	case strings.HasPrefix(name, figGenerator):
		return "differs"
	case larger == more(name):
		return "better"
	}
	return "worse"
}

// figuresOf are all figures of some runs, the whole before its shares.
func figuresOf(runs []result) []string {
	all := map[string]bool{}
	for _, r := range runs {
		for name := range r.Figures {
			all[name] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}
