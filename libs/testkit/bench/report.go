package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

type report struct {
	At      time.Time       `json:"at"`
	Machine string          `json:"machine"`
	Go      string          `json:"go"`
	Ways    []wayResult     `json:"ways,omitempty"`
	Latency []latencyResult `json:"latency,omitempty"`
}

func run(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	bin := fs.String("bin", "bin/millrace", "the `program` to measure")
	parts := fs.String("parts", "nats,http,latency", "comma-separated: nats, http, latency")
	events := fs.Int("events", 1_000_000, "events of a run")
	runs := fs.Int("runs", 3, "runs of each part; medians are printed")
	rate := fs.Int("rate", 5_000, "events a second of the latency part")
	length := fs.Duration("length", 10*time.Second, "length of the latency part")
	out := fs.String("json", "", "also write every run to this `file`")
	if err := fs.Parse(args); err != nil {
		return err
	}
	r := report{At: time.Now().UTC(), Machine: machine(), Go: runtime.Version()}
	fmt.Printf("%s, %s; %d events a run, medians of %d\n\n", r.Machine, r.Go, *events, *runs)
	stamp := strconv.FormatInt(time.Now().Unix(), 36)
	for part := range strings.SplitSeq(*parts, ",") {
		for i := range *runs {
			name := fmt.Sprintf("%s%s%d", stamp, part, i)
			var err error
			switch part {
			case "nats":
				err = r.way(way(ctx, *bin, "NATS door, 100 events a message", *events, 100, overNATS, name))
			case "http":
				err = r.way(way(ctx, *bin, "HTTP door, 100 events a request", *events, 100, overHTTP(16), name))
			case "latency":
				var l latencyResult
				if l, err = latency(ctx, *bin, *rate, *length, name); err == nil {
					r.Latency = append(r.Latency, l)
				}
			default:
				err = fmt.Errorf("part %q: want nats, http or latency", part)
			}
			if err != nil {
				return err
			}
		}
	}
	r.print()
	if *out == "" {
		return nil
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(*out, append(text, '\n'), 0o644)
}

func (r *report) way(w wayResult, err error) error {
	if err == nil {
		r.Ways = append(r.Ways, w)
		fmt.Fprintf(os.Stderr, "%s: %.0f events/s\n", w.Name, w.PerSecond)
	}
	return err
}

func (r *report) print() {
	if len(r.Ways) > 0 {
		fmt.Println("| whole way | events/s | CPU-s per million (up + ClickHouse) | events per core-second | memory MB (up + ClickHouse) |")
		fmt.Println("|---|---|---|---|---|")
	}
	seen := map[string]bool{}
	for _, w := range r.Ways {
		if seen[w.Name] {
			continue
		}
		seen[w.Name] = true
		of := func(f func(wayResult) float64) float64 {
			var all []float64
			for _, o := range r.Ways {
				if o.Name == w.Name {
					all = append(all, f(o))
				}
			}
			return median(all)
		}
		fmt.Printf("| %s | %.0f | %.1f (%.1f + %.1f) | %.0f | %.0f + %.0f |\n", w.Name, of(func(w wayResult) float64 { return w.PerSecond }),
			of(func(w wayResult) float64 { return w.UpCPU + w.ClickHouse }), of(func(w wayResult) float64 { return w.UpCPU }),
			of(func(w wayResult) float64 { return w.ClickHouse }), of(func(w wayResult) float64 { return w.PerCoreSec }),
			of(func(w wayResult) float64 { return w.UpRSS }), of(func(w wayResult) float64 { return w.ClickHouseMB }))
	}
	if len(r.Latency) == 0 {
		return
	}
	of := func(f func(latencyResult) float64) float64 {
		var all []float64
		for _, l := range r.Latency {
			all = append(all, f(l))
		}
		return median(all)
	}
	fmt.Printf("\n| single events at %d/s | p50 ms | p99 ms |\n|---|---|---|\n", r.Latency[0].Rate)
	fmt.Printf("| HTTP door | %.1f | %.1f |\n", of(func(l latencyResult) float64 { return l.DoorP50 }), of(func(l latencyResult) float64 { return l.DoorP99 }))
	fmt.Printf("| accepted to row visible | %.0f | %.0f |\n", of(func(l latencyResult) float64 { return l.RowP50 }), of(func(l latencyResult) float64 { return l.RowP99 }))
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}

// machine is the processor and the number of cores this process may use.
func machine() string {
	model := "unknown processor"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("%d cores of %s", runtime.NumCPU(), model)
}
