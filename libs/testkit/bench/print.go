package main

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
)

// aim is what a figure should reach; 0 is none.
type aim struct {
	value float64
	least bool // at least; else at most
}

// aims by part and figure.
var aims = map[string]map[string]aim{
	"way-nats":        {figRate: {200_000, true}, figCPU: {8, false}, figMemory: {400, false}},
	"way-nats-single": {figRate: {80_000, true}, figCPU: {20, false}},
	"way-http":        {figRate: {120_000, true}},
	"way-http-single": {figRate: {20_000, true}},
	"latency":         {figDoor50: {5, false}, figDoor99: {15, false}, figRow50: {80, false}, figRow99: {200, false}},
	"power":           {figRate: {120_000, true}},
	// Of the answers the kinds of questions too.
	"answers":                 {figOverhead: {10, false}},
	"answers ask, active":     {figAnswer50: {5, false}, figAnswer99: {20, false}},
	"answers user, active":    {figAnswer50: {5, false}, figAnswer99: {20, false}},
	"answers ask, any other":  {figAnswer50: {40, false}, figAnswer99: {120, false}},
	"answers user, any other": {figAnswer50: {40, false}, figAnswer99: {120, false}},
}

func (a aim) String() string {
	switch {
	case a.value == 0:
		return ""
	case a.least:
		return "≥ " + number(a.value)
	}
	return "≤ " + number(a.value)
}

// number has three significant digits and commas between thousands.
func number(v float64) string {
	switch {
	case v == 0:
		return "0"
	case math.Abs(v) < 10:
		return fmt.Sprintf("%.2f", v)
	case math.Abs(v) < 100:
		return fmt.Sprintf("%.1f", v)
	}
	text := fmt.Sprintf("%.0f", v)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// String is the median and, of several runs, the least and the largest.
func (s summary) String() string {
	switch s.n {
	case 0:
		return ""
	case 1:
		return number(s.median)
	}
	return fmt.Sprintf("%s (%s – %s)", number(s.median), number(s.least), number(s.top))
}

// brief is a run in one line.
func (r result) brief() string {
	if r.Part == "latency" {
		return fmt.Sprintf("door %s / %s ms, row %s / %s ms (p50 / p99), machine index %.0f ns", number(r.Figures[figDoor50]), number(r.Figures[figDoor99]),
			number(r.Figures[figRow50]), number(r.Figures[figRow99]), r.index())
	}
	if r.Part == "answers" {
		return r.briefAnswer()
	}
	return fmt.Sprintf("%s events/s, %s CPU-s per million, %s MB, machine index %.0f ns", number(r.Figures[figRate]), number(r.Figures[figCPU]),
		number(r.Figures[figMemory]), r.index())
}

// print writes the report as Markdown tables.
func (r *report) print(w io.Writer) {
	fmt.Fprintln(w, r.Machine)
	var all []string
	for _, name := range slices.Sorted(maps.Keys(r.Versions)) {
		all = append(all, name+" "+r.Versions[name])
	}
	fmt.Fprintln(w, strings.Join(all, ", "))
	r.printWays(w)
	r.printLatency(w)
	r.printStages(w)
	r.printBacklog(w)
	r.printPeers(w)
	r.printAnswers(w)
	var marked []string
	for _, run := range r.Runs {
		if r.odd(run) {
			marked = append(marked, fmt.Sprintf("%s (%.0f ns)", run.name(), run.index()))
		}
	}
	if len(marked) > 0 {
		fmt.Fprintf(w, "\n* The machine index of these runs is more than %.0f %% from the median of all: %s\n", 100*oddMachine, strings.Join(marked, ", "))
	}
	for _, failed := range r.Failed {
		fmt.Fprintln(w, "\nFAILED:", failed)
	}
}

// mark is a star for runs of which one was on an odd machine.
func (r *report) mark(runs []result) string {
	if slices.ContainsFunc(runs, r.odd) {
		return " *"
	}
	return ""
}

func (r *report) printWays(w io.Writer) {
	head := false
	for _, name := range r.names() {
		runs := r.of(name)
		first := runs[0]
		if first.Part == "latency" || first.Part == "peer-bento" || first.Part == "backlog" || first.Part == "answers" {
			continue
		}
		if !head {
			fmt.Fprintf(w, "\n| whole way | runs | durability | events/s | aim | CPU-s per million | aim | services + NATS | ClickHouse | memory MB, services + NATS | aim | ClickHouse | rows a block | generator CPU-s/M |\n")
			fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|")
			head = true
		}
		a := aims[first.Part]
		services := 0.0
		for _, stage := range stageNames(runs) {
			if stage != database {
				services += figure(runs, figCPU+"."+stage).median
			}
		}
		fmt.Fprintf(w, "| %s%s | %d | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", name, r.mark(runs), len(runs), first.Durability,
			figure(runs, figRate), a[figRate], figure(runs, figCPU), a[figCPU], number(services), number(figure(runs, figCPU+"."+database).median),
			figure(runs, figMemory), a[figMemory], number(figure(runs, figMemory+"."+database).median), number(figure(runs, figBlock).median),
			number(figure(runs, figGenerator).median))
	}
	if head {
		fmt.Fprintln(w, "\nMemory is the peak of VmRSS, sampled every 100 ms; it counts pages that Go has freed and not yet given back.")
	}
}

func (r *report) printLatency(w io.Writer) {
	runs := r.of("latency")
	if len(runs) == 0 {
		return
	}
	a := aims["latency"]
	fmt.Fprintf(w, "\n| single events at %s/s%s | p50 ms | aim | p99 ms | aim |\n|---|---|---|---|---|\n", number(figure(runs, figRate).median), r.mark(runs))
	fmt.Fprintf(w, "| HTTP door | %s | %s | %s | %s |\n", figure(runs, figDoor50), a[figDoor50], figure(runs, figDoor99), a[figDoor99])
	fmt.Fprintf(w, "| accepted to row visible | %s | %s | %s | %s |\n", figure(runs, figRow50), a[figRow50], figure(runs, figRow99), a[figRow99])
	fmt.Fprintf(w, "\n%s CPU-s per million events, %s MB of memory (services + NATS).\n", figure(runs, figCPU), figure(runs, figMemory))
}

// stageNames are the processes of some runs, in the order of the event's way.
func stageNames(runs []result) (all []string) {
	for _, name := range []string{"up", "nats", "ingester", "enricher", "indexer", "query", "bento", database} {
		if figure(runs, figCPU+"."+name).n > 0 {
			all = append(all, name)
		}
	}
	return all
}
