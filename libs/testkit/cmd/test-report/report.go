package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// event is one line of `go test -json`; source: `go doc test2json`.
type event struct {
	Action     string
	Package    string
	ImportPath string // of build events
	Test       string
	Output     string
	Elapsed    float64
}

// report counts tests, subtests included.
type report struct {
	out                     io.Writer
	passed, failed, skipped int
	exit                    int             // of go test; -1 until known
	open                    map[string]bool // packages that have begun and not ended
	broken                  []string        // packages that failed, not one of their tests
	skips                   []string
	output                  map[string][]string // by package and test, until it passes
	perPackage              map[string]int
}

func newReport(out io.Writer) *report {
	return &report{out: out, exit: -1, open: map[string]bool{}, output: map[string][]string{}, perPackage: map[string]int{}}
}

func (r *report) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			r.line(line)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *report) line(line string) {
	var e event
	if json.Unmarshal([]byte(line), &e) == nil {
		r.event(e)
		return
	}
	if code, ok := strings.CutPrefix(strings.TrimSpace(line), "exit "); ok {
		if n, err := strconv.Atoi(code); err == nil {
			r.exit = n
			return
		}
	}
	fmt.Fprint(r.out, line)
}

func (r *report) event(e event) {
	key := e.Package + " " + e.Test
	switch {
	case e.Action == "build-output":
		fmt.Fprint(r.out, e.Output)
	case e.Action == "build-fail":
		r.broken = append(r.broken, e.ImportPath+" (build)")
	case e.Action == "start":
		r.open[e.Package] = true
	case e.Action == "output":
		r.output[key] = append(r.output[key], e.Output)
	case e.Test != "":
		r.test(e, key)
	default:
		r.pack(e)
	}
}

// test takes the end of a test.
func (r *report) test(e event, key string) {
	switch e.Action {
	case "pass":
		r.passed++
		r.perPackage[e.Package]++
	case "skip":
		r.skipped++
		r.skips = append(r.skips, key)
		r.show(key)
	case "fail":
		r.failed++
		fmt.Fprintf(r.out, "--- FAIL: %s\n", key)
		r.show(key)
	default:
		return // run, pause, cont
	}
	delete(r.output, key)
}

// pack takes the end of a package.
func (r *report) pack(e event) {
	switch e.Action {
	case "pass":
		fmt.Fprintf(r.out, "ok    %s  %d tests, %.1fs\n", e.Package, r.perPackage[e.Package], e.Elapsed)
	case "fail":
		fmt.Fprintf(r.out, "FAIL  %s  %.1fs\n", e.Package, e.Elapsed)
		r.broken = append(r.broken, e.Package)
		// What it said outside of its tests, and of those that did not end.
		for _, k := range slices.Sorted(maps.Keys(r.output)) {
			if strings.HasPrefix(k, e.Package+" ") {
				r.show(k)
			}
		}
	case "skip": // it has no test files
	default:
		return
	}
	delete(r.open, e.Package)
	delete(r.perPackage, e.Package) // it may be tested again, built in another way
	maps.DeleteFunc(r.output, func(k string, _ []string) bool { return strings.HasPrefix(k, e.Package+" ") })
}

func (r *report) show(key string) {
	for _, line := range r.output[key] {
		fmt.Fprint(r.out, "    ", line)
	}
}

// finish prints the sums and says whether all is well.
func (r *report) finish() bool {
	ok := r.failed == 0 && r.skipped == 0 && r.passed > 0 && len(r.broken) == 0 && len(r.open) == 0 && r.exit == 0
	fmt.Fprintln(r.out)
	for _, p := range r.broken {
		fmt.Fprintln(r.out, "failed: ", p)
	}
	for _, p := range slices.Sorted(maps.Keys(r.open)) {
		fmt.Fprintln(r.out, "did not finish: ", p)
	}
	for _, s := range r.skips {
		fmt.Fprintln(r.out, "skipped: ", s)
	}
	switch {
	case r.exit < 0:
		fmt.Fprintln(r.out, "go test was cut off")
	case r.exit != 0 && r.failed == 0 && len(r.broken) == 0:
		fmt.Fprintf(r.out, "go test ended with %d\n", r.exit)
	case r.passed == 0:
		fmt.Fprintln(r.out, "no test ran")
	}
	fmt.Fprintf(r.out, "%d passed, %d failed, %d skipped\n", r.passed, r.failed, r.skipped)
	return ok
}
