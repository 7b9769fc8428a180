package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// settings of a run, as the command line gives them.
type settings struct {
	Duration time.Duration
	Seed     uint64
	Every    time.Duration
	Times    int
	Rate     float64
	Faults   string
	Broken   string
	Keep     bool
	JSON     bool
	List     bool
	Bin      string

	files string // where a run keeps its files, "" for one of its own
}

func parse(args []string) (settings, error) {
	var s settings
	fs := flag.NewFlagSet("chaos", flag.ContinueOnError)
	fs.DurationVar(&s.Duration, "duration", 3*time.Minute, "how `long` things are broken; the fault that is under way is finished")
	fs.Uint64Var(&s.Seed, "seed", 0, "seed of all decisions (0: one is made, and printed)")
	fs.DurationVar(&s.Every, "every", 0, "begin a fault so often (0: soon after the last one was overcome)")
	fs.IntVar(&s.Times, "times", 0, "end when each fault was injected so often (0: only the duration counts)")
	fs.Float64Var(&s.Rate, "rate", 1500, "events a `second`, of all producers together")
	fs.StringVar(&s.Faults, "faults", "all", "`names` or groups, separated by commas")
	fs.StringVar(&s.Broken, "broken", "", "run a build that is broken on purpose: a `name`, or all; it must fail")
	fs.BoolVar(&s.Keep, "keep", false, "keep the logs of a run that went well too")
	fs.BoolVar(&s.JSON, "json", false, "print the verdict as JSON before its last line")
	fs.BoolVar(&s.List, "list", false, "list the faults and the broken builds")
	fs.StringVar(&s.Bin, "bin", "", "`directory` of programs that were built before")
	fs.Usage = func() {
		fmt.Fprintln(fs.Output(), `Usage: chaos [flags]

Examples:
  make chaos DURATION=10m SEED=7
  make chaos FAULTS=clickhouse/orphan,twins DURATION=1m
  make chaos BROKEN=token-only

Flags:`)
		fs.PrintDefaults()
	}
	if err := fs.Parse(args); err != nil {
		return s, err
	}
	if fs.NArg() > 0 {
		return s, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if s.Duration <= 0 || s.Rate <= 0 {
		return s, fmt.Errorf("duration %s and rate %g must be positive", s.Duration, s.Rate)
	}
	for s.Seed == 0 {
		s.Seed = uint64(rand.Uint32())
	}
	return s, nil
}

func run(ctx context.Context, args []string) error {
	s, err := parse(args)
	if err != nil {
		return err
	}
	chosen, err := choose(s.Faults)
	if err != nil {
		return err
	}
	if s.List {
		list(os.Stdout, chosen)
		return nil
	}
	if s.Broken != "" {
		return tryBroken(ctx, s)
	}
	done, why, err := inSpace(ctx, args)
	if done || err != nil {
		return err
	}
	v, err := experiment(ctx, s, chosen, why, os.Stdout)
	if err != nil {
		return err
	}
	if !v.OK() {
		return errBroken
	}
	return nil
}

// errBroken needs no words: the last line has said it.
var errBroken = errors.New("the guarantee was broken")

func list(w io.Writer, chosen []fault) {
	for _, f := range chosen {
		fmt.Fprintf(w, "%-34s %s\n", f.name, f.what)
	}
	fmt.Fprintln(w, "\nbuilds that are broken on purpose (--broken):")
	for _, b := range broken {
		fmt.Fprintf(w, "%-34s %s\n", b.name, b.what)
	}
}

// experiment is one whole run: build, start, break, count.
func experiment(ctx context.Context, s settings, chosen []fault, noDisk error, out io.Writer) (*verdict, error) {
	dir := s.files
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "chaos-"); err != nil {
			return nil, err
		}
	}
	if rest := withoutDisk(chosen); noDisk != nil && len(rest) < len(chosen) {
		fmt.Fprintf(out, "no disk can be filled here (%v): those faults are left out\n", noDisk)
		chosen = rest
	}
	if len(chosen) == 0 {
		return nil, errors.New("no fault is left to try")
	}
	if s.Bin == "" {
		s.Bin = filepath.Join(dir, "bin")
		top, err := root()
		if err != nil {
			return nil, err
		}
		fmt.Fprintln(out, "building the services with failpoints")
		if err := build(ctx, top, s.Bin, "", programs...); err != nil {
			return nil, err
		}
	}
	m, err := newMill(filepath.Join(dir, "mill"), s.Bin, os.Getenv(envSpace) != "")
	if err != nil {
		return nil, err
	}
	defer m.stop()
	fmt.Fprintf(out, "seed %d, %s, %d faults, %.0f events/s; logs in %s\n", s.Seed, s.Duration, len(chosen), s.Rate, m.dir)
	if err := m.start(ctx); err != nil {
		return nil, err
	}
	l, err := newLab(s, m, out)
	if err != nil {
		return nil, err
	}
	defer l.close()
	var memory memoryOver
	watching, done := context.WithCancel(ctx)
	var watcher sync.WaitGroup
	watcher.Go(func() { memory.watch(watching, l) })
	trouble := l.work(ctx, chosen)
	done()
	watcher.Wait()
	v := l.judge(ctx, trouble)
	v.Memory = memory
	v.print(out, s.JSON)
	if v.OK() && !s.Keep {
		m.stop()
		_ = os.RemoveAll(dir) // on a small disk it is gone with the lab anyway
	}
	return v, nil
}

func withoutDisk(all []fault) (rest []fault) {
	for _, f := range all {
		if !f.disk {
			rest = append(rest, f)
		}
	}
	return rest
}

// newLab has three producers over HTTP, two over NATS, and one over HTTP that
// sends nothing twice.
func newLab(s settings, m *mill, out io.Writer) (*lab, error) {
	l := &lab{settings: s, mill: m, out: out, began: time.Now(), gate: newGate(), counts: map[string]*tally{}}
	for i := range 3 {
		l.producers = append(l.producers, &producer{name: fmt.Sprint("http", i), lab: l, send: overHTTP(m)})
	}
	for i := range 2 {
		name := fmt.Sprint("nats", i)
		send, closed, err := overNATS(m, name)
		if err != nil {
			l.close()
			return nil, err
		}
		l.closers = append(l.closers, closed)
		l.producers = append(l.producers, &producer{name: name, lab: l, send: send})
	}
	l.once = &impatient{lab: l, send: overHTTP(m)}
	l.rate = s.Rate / float64(len(l.producers))
	return l, nil
}

// close ends the producers' connections.
func (l *lab) close() {
	for _, f := range l.closers {
		f()
	}
}
