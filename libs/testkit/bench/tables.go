package main

import (
	"fmt"
	"io"
)

func (r *report) printStages(w io.Writer) {
	runs := r.of("split")
	if len(runs) == 0 {
		return
	}
	fmt.Fprintln(w, "\n| process | CPU-s per million | memory MB |\n|---|---|---|")
	for _, name := range stageNames(runs) {
		fmt.Fprintf(w, "| %s | %s | %s |\n", name, figure(runs, figCPU+"."+name), figure(runs, figMemory+"."+name))
	}
	fmt.Fprintf(w, "| all | %s | |\n", figure(runs, figCPU))
}

func (r *report) printBacklog(w io.Writer) {
	head := false
	for _, name := range r.names() {
		runs := r.of(name)
		if runs[0].Part != "backlog" {
			continue
		}
		if !head {
			fmt.Fprintln(w, "\n| backlog | drained at events/s | CPU-s per million | memory MB: enricher | indexer | nats | all services + NATS | in the first half |\n|---|---|---|---|---|---|---|---|")
			head = true
		}
		fmt.Fprintf(w, "| %s events%s | %s | %s | %s | %s | %s | %s | %s |\n", number(runs[0].X), r.mark(runs), figure(runs, figRate), figure(runs, figCPU),
			figure(runs, figMemory+".enricher"), figure(runs, figMemory+".indexer"), figure(runs, figMemory+".nats"),
			figure(runs, figMemory), figure(runs, figMemoryHalf))
	}
}

// printPeers compares what others reach with what Millrace reached in the same
// invocation.
func (r *report) printPeers(w io.Writer) {
	peers := r.of("peer-bento")
	if len(peers) == 0 {
		return
	}
	fmt.Fprintln(w, "\n| JetStream to ClickHouse | runs | events/s | CPU-s per million | program | nats | ClickHouse | memory MB, program + NATS | way-nats is faster by | way-nats-single by | way-nats takes less CPU by | way-nats-single by |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|---|---|---|")
	for _, p := range []struct{ name, title, program string }{
		{"peer-bento", "Bento " + r.Versions["bento"] + ", one event a message", "bento"},
		{"way-nats-single", "Millrace, one event a message", "up"},
		{"way-nats", "Millrace, 100 events a message", "up"},
	} {
		runs := r.of(p.name)
		if len(runs) == 0 {
			continue
		}
		fmt.Fprintf(w, "| %s%s | %d | %s | %s | %s | %s | %s | %s |", p.title, r.mark(runs), len(runs), figure(runs, figRate), figure(runs, figCPU),
			number(figure(runs, figCPU+"."+p.program).median), number(figure(runs, figCPU+".nats").median),
			number(figure(runs, figCPU+"."+database).median), figure(runs, figMemory))
		for _, f := range []string{figRate, figCPU} {
			for _, ours := range []string{"way-nats", "way-nats-single"} {
				their, own := figure(runs, f).median, figure(r.of(ours), f).median
				if own == 0 || their == 0 || p.program == "up" {
					fmt.Fprint(w, " |")
					continue
				}
				ratio := own / their
				if !more(f) {
					ratio = their / own
				}
				fmt.Fprintf(w, " %.1f × |", ratio)
			}
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w, "\nMillrace's NATS is part of `up`. Bento looks at user agents with a few `contains` and leaves properties as JSON text.")
}
