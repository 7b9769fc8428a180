package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// report is what --json writes.
type report struct {
	At       time.Time         `json:"at"`
	Machine  string            `json:"machine"`
	Versions map[string]string `json:"versions"`
	Command  []string          `json:"command"`
	Runs     []result          `json:"runs"`
	Failed   []string          `json:"failed,omitempty"` // runs without figures, and why
}

// result is one run. Part and Case together say what was done; runs that have
// both in common can be compared.
type result struct {
	Part       string             `json:"part"`
	Case       string             `json:"case,omitempty"`
	X          float64            `json:"x,omitempty"` // what a growth curve is drawn over
	Events     int                `json:"events"`
	EventBytes int                `json:"event_bytes"` // mean
	Durability string             `json:"durability"`
	Index      [2]float64         `json:"machine_index_ns"` // before and after
	Profiled   bool               `json:"profiled,omitempty"`
	Figures    map[string]float64 `json:"figures"`
	Memory     []point            `json:"memory,omitempty"`
}

// The figures of a result. Those with a dot are shares of the one before it,
// by process.
const (
	figRate       = "events_per_s"
	figCPU        = "cpu_s_per_million"
	figCore       = "events_per_core_s"
	figMemory     = "rss_mb" // peak of services and NATS together
	figBlock      = "rows_per_block"
	figDoor50     = "door_p50_ms"
	figDoor99     = "door_p99_ms"
	figRow50      = "row_p50_ms"
	figRow99      = "row_p99_ms"
	figGenerator  = "generator_cpu_s_per_million"
	figMemoryHalf = "rss_mb_first_half"
	figAnswer50   = "answer_p50_ms"
	figAnswer99   = "answer_p99_ms"
	figDirect50   = "clickhouse_p50_ms" // the same SQL, asked past Millrace
	figDirect99   = "clickhouse_p99_ms"
	figOverhead   = "overhead_percent"
	figAsked      = "questions"
	figLacking    = "answers_that_lack_something"
	figEnded      = "statements_ended"
	figCores      = "cores"
	figKept       = "people_read_ahead"
	figActive     = "people_active"
	figAhead      = "read_ahead_s"
)

// more says whether a larger figure is the better one.
func more(figure string) bool {
	return figure == figRate || figure == figCore || figure == figBlock
}

// name is how tables call what was done.
func (r result) name() string {
	if r.Case == "" {
		return r.Part
	}
	return r.Part + " " + r.Case
}

// index is the mean of before and after.
func (r result) index() float64 { return (r.Index[0] + r.Index[1]) / 2 }

// names are the kinds of runs in the order in which they were made.
func (r *report) names() (all []string) {
	for _, run := range r.Runs {
		if !slices.Contains(all, run.name()) {
			all = append(all, run.name())
		}
	}
	return all
}

// of are the runs of one kind.
func (r *report) of(name string) (all []result) {
	for _, run := range r.Runs {
		if run.name() == name {
			all = append(all, run)
		}
	}
	return all
}

// oddMachine is how far from the median a run's machine index may be.
const oddMachine = 0.15

// odd says whether the machine was much faster or slower than usual then.
func (r *report) odd(run result) bool {
	usual := r.usualIndex()
	return usual > 0 && math.Abs(run.index()/usual-1) > oddMachine
}

// summary of a figure over some runs.
type summary struct {
	n                  int
	median, least, top float64
}

func summarise(all []float64) summary {
	if len(all) == 0 {
		return summary{}
	}
	all = slices.Sorted(slices.Values(all))
	middle := all[len(all)/2]
	if len(all)%2 == 0 {
		middle = (middle + all[len(all)/2-1]) / 2
	}
	return summary{n: len(all), median: middle, least: all[0], top: all[len(all)-1]}
}

// figure is one figure over runs of one kind; n is 0 when none has it.
func figure(runs []result, name string) summary {
	var all []float64
	for _, r := range runs {
		if v, ok := r.Figures[name]; ok {
			all = append(all, v)
		}
	}
	return summarise(all)
}

func readReport(path string) (*report, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var r report
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("%s is not a report of bench: %w", path, err)
	}
	return &r, nil
}

// write replaces the file, so that a run that is broken off leaves what it had.
func (r *report) write(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
