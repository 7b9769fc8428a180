package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// bench is one invocation.
type bench struct {
	bin    string // directory of the programs
	peers  string // directory of the configurations of others
	upArgs []string
	events int
	runs   int
	rate   int
	length time.Duration // of the latency part
	rows   int           // of the table that questions are asked of

	out     string // file of the report
	profile string // directory for profiles; "" for none
	report  report
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "natsd":
			return natsd(ctx, args[1:])
		case "compare":
			return compare(os.Stdout, args[1:])
		case "plot":
			return plot(os.Stdout, args[1:])
		}
	}
	b := &bench{report: report{At: time.Now().UTC(), Machine: machine(), Command: args}}
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.StringVar(&b.bin, "bin", "bin", "`directory` of the programs to measure")
	parts := fs.String("parts", "all", "comma-separated `names`; see --list")
	list := fs.Bool("list", false, "list the parts and exit")
	upArgs := fs.String("up-args", "", "further `arguments` for millrace up")
	fs.IntVar(&b.events, "events", 1_000_000, "`events` of a run")
	fs.IntVar(&b.runs, "runs", 3, "`runs` of each part; medians are printed")
	fs.IntVar(&b.rate, "rate", 5_000, "`events` a second of the latency part")
	fs.DurationVar(&b.length, "length", 10*time.Second, "length of the latency part")
	fs.IntVar(&b.rows, "rows", 20_000_000, "`rows` of the table of the answers part")
	fs.StringVar(&b.out, "json", "", "write every run to this `file` (default .bench/<time>.json)")
	fs.StringVar(&b.peers, "peers", "libs/testkit/bench/peers", "`directory` of the configurations of other programs")
	fs.StringVar(&b.profile, "profile", "", "`directory` for a CPU and a heap profile of the last run of each part")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 || b.events < 1 || b.runs < 1 || b.rate < rowSamples {
		return fmt.Errorf("want at least one event and run, %d events a second, and no arguments: %q", rowSamples, fs.Args())
	}
	b.upArgs = strings.Fields(*upArgs)
	if b.out == "" {
		b.out = filepath.Join(".bench", b.report.At.Format("20060102-150405")+".json")
	}
	if *list {
		for _, p := range b.parts() {
			fmt.Printf("%-16s %s\n", p.name, p.what)
		}
		return nil
	}
	chosen, err := choose(b.parts(), *parts)
	if err != nil {
		return err
	}
	return b.measure(ctx, chosen)
}

// measure makes the runs and prints the tables. A run that fails is named and
// does not keep the others from being made.
func (b *bench) measure(ctx context.Context, parts []part) error {
	var err error
	if b.report.Versions, err = versions(b.bin); err != nil {
		return err
	}
	if slices.ContainsFunc(parts, func(p part) bool { return p.name == "peer-bento" }) {
		if b.report.Versions["bento"], err = bentoVersion(b.peers); err != nil {
			return err
		}
	}
	// Round after round, so that what else the machine does meanwhile meets
	// all parts alike.
	for i := range b.runs {
		for _, p := range parts {
			if p.single && i > 0 {
				continue
			}
			for _, one := range p.runs {
				b.once(ctx, p, one, i)
				if ctx.Err() != nil {
					return errors.Join(ctx.Err(), b.report.write(b.out))
				}
			}
		}
	}
	b.report.print(os.Stdout)
	fmt.Printf("\nAll runs: %s\n", b.out)
	if len(b.report.Failed) > 0 {
		return fmt.Errorf("%d runs failed, see above", len(b.report.Failed))
	}
	return nil
}

// longestRun ends a run that got stuck.
const longestRun = 15 * time.Minute

// once makes one run and adds it to the report.
func (b *bench) once(ctx context.Context, p part, one measurement, i int) {
	ctx, cancel := context.WithTimeout(ctx, longestRun)
	defer cancel()
	name := strconv.FormatInt(time.Now().UnixMilli(), 36)
	profile := ""
	if b.profile != "" && (i == b.runs-1 || p.single) {
		profile = filepath.Join(b.profile, p.name)
	}
	before := machineIndex()
	results, err := one(ctx, b, name, profile)
	after := machineIndex()
	if err != nil {
		err = fmt.Errorf("%s, run %d: %w", p.name, i+1, err)
		fmt.Fprintln(os.Stderr, "bench:", err)
		b.report.Failed = append(b.report.Failed, err.Error())
	} else {
		for _, r := range results {
			if r.Index[0] == 0 {
				r.Index = [2]float64{before, after}
			}
			b.report.Runs = append(b.report.Runs, r)
			fmt.Fprintf(os.Stderr, "%s, run %d of %d: %s\n", r.name(), i+1, b.runs, r.brief())
		}
	}
	if err := b.report.write(b.out); err != nil {
		fmt.Fprintln(os.Stderr, "bench: report:", err)
	}
}

// say tells how far a long run is.
func (b *bench) say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// learn notes what only a running installation tells.
func (b *bench) learn(ctx context.Context, in *installation) {
	if b.report.Versions[database] != "" {
		return
	}
	if text, err := in.ask(ctx, "SELECT version()", ""); err == nil {
		b.report.Versions[database] = text
	}
}

// profileLength is how long a part's CPU profile is: as long as its last run
// took to send and store everything.
func (b *bench) profileLength(part string) time.Duration {
	for _, r := range b.report.Runs {
		if rate := r.Figures[figRate]; r.Part == part && rate > 0 {
			return time.Duration(float64(r.Events) / rate * float64(time.Second))
		}
	}
	return 4 * time.Second
}
