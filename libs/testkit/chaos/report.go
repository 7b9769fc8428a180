package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// print writes the table, what is wrong, and the verdict as the last line.
func (v *verdict) print(out io.Writer, asJSON bool) {
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "fault\tinjected\tevents in\trows\tdead letters\tlost\tdoubled\tslowest recovery\t")
	injected, kinds, tried := 0, 0, 0
	for _, f := range v.Faults {
		if f.Fault != calm {
			kinds++
		}
		if f.Injected > 0 {
			tried++
		}
		slowest := "-"
		if f.Injected > 0 {
			slowest = fmt.Sprintf("%.1f s", f.Slowest.Seconds())
		}
		injected += f.Injected
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t\n", f.Fault, f.Injected, f.Events, f.Rows, f.Dead, f.Lost, f.Doubled, slowest)
	}
	fmt.Fprintf(w, "all\t%d\t%d\t%d\t%d\t%d\t%d\t\t\n", injected, v.Accepted, v.Rows, v.Dead, v.Lost, v.Doubled)
	_ = w.Flush() // to a terminal or a buffer
	v.printKinds(out)
	v.Memory.print(out)
	for _, s := range v.Wrong {
		fmt.Fprintln(out, "wrong:", s)
	}
	if v.trace != "" {
		fmt.Fprintln(out, v.trace)
	}
	if asJSON {
		if text, err := json.Marshal(v); err == nil {
			fmt.Fprintln(out, string(text))
		}
	}
	fmt.Fprintf(out, "one producer sent nothing twice: %d events of its own were refused (none may be there), %d had no answer, %d are there\n", v.Refused, v.Unsure, v.Once)
	fmt.Fprintln(out, v.line(injected, tried, kinds))
}

// printKinds is the table's short form: a line for the faults of each kind.
func (v *verdict) printKinds(out io.Writer) {
	var kinds []*tally
	for _, f := range v.Faults {
		kind, _, _ := strings.Cut(f.Fault, "/")
		if n := len(kinds); n == 0 || kinds[n-1].Fault != kind {
			kinds = append(kinds, &tally{Fault: kind})
		}
		k := kinds[len(kinds)-1]
		k.Injected += f.Injected
		k.Events += f.Events
		k.Rows += f.Rows
		k.Dead += f.Dead
		k.Lost += f.Lost
		k.Doubled += f.Doubled
	}
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "kind of fault\tinjected\tevents in\trows\tdead letters\tlost\tdoubled\t")
	for _, k := range kinds {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t\n", k.Fault, k.Injected, k.Events, k.Rows, k.Dead, k.Lost, k.Doubled)
	}
	_ = w.Flush() // to a terminal or a buffer
}

func (v *verdict) line(injected, tried, kinds int) string {
	word := "EXACT"
	if !v.OK() {
		word = "BROKEN"
	}
	return fmt.Sprintf("%s: seed %d, %s, %d of %d faults struck %d times, %d events accepted = %d rows + %d dead letters, %d lost, %d doubled, %d strange (%d repeats sent)",
		word, v.Seed, v.Took.Round(time.Second), tried, kinds, injected, v.Accepted, v.Rows, v.Dead, v.Lost, v.Doubled, v.Strange, v.Repeats)
}
