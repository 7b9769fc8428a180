package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
)

// memoryUse is anonymous resident memory by program, in MB; both processes of a
// service are one program.
type memoryUse map[string]int

// memoryOver has the most that was seen in each sixth of a run: what grows shows
// from one to the next, what was only killed and started again does not hide it.
type memoryOver [6]memoryUse

// watch takes a sample a second until ctx ends.
func (m *memoryOver) watch(ctx context.Context, l *lab) {
	for pause(ctx, time.Second) {
		part := int(time.Since(l.began) * time.Duration(len(m)) / l.Duration)
		if part >= len(m) {
			return // what is still broken is mended now, no fault is added
		}
		if m[part] == nil {
			m[part] = memoryUse{}
		}
		for name, mb := range l.memory() {
			m[part][name] = max(m[part][name], mb)
		}
	}
}

func (m *memoryOver) print(out io.Writer) {
	fmt.Fprintln(out, "\nmemory in MB, the most of each sixth of the time:")
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, name := range append(order, "nats", "clickhouse") {
		fmt.Fprintf(w, "%s\t", name)
		for _, use := range m {
			fmt.Fprintf(w, "%d\t", use[name])
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush() // to a terminal or a buffer
	fmt.Fprintln(out)
}

// memory is what the programs take now.
func (l *lab) memory() memoryUse {
	use := memoryUse{"nats": rss(l.nats.pid()), "clickhouse": rss(l.db.pid())}
	for _, name := range order {
		for _, p := range l.services[name] {
			use[name] += rss(p.pid())
		}
	}
	return use
}

// rss is the anonymous resident memory of a process in MB, 0 if it is gone.
func rss(pid int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		var kb int
		if _, err := fmt.Sscanf(line, "RssAnon: %d kB", &kb); err == nil {
			return kb >> 10
		}
	}
	return 0
}
