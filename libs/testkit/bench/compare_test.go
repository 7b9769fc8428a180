package main

import (
	"strings"
	"testing"
)

func runs(part, fig string, values ...float64) (all []result) {
	for _, v := range values {
		all = append(all, result{Part: part, Index: [2]float64{100, 100}, Figures: map[string]float64{fig: v}})
	}
	return all
}

func TestVerdict(t *testing.T) {
	check := func(fig string, a, b []float64, want string) {
		t.Helper()
		if got := verdict(fig, summarise(a), summarise(b)); got != want {
			t.Errorf("%s from %v to %v: %q, want %q", fig, a, b, got, want)
		}
	}
	check(figRate, []float64{10, 11, 12}, []float64{13, 14, 15}, "better")
	check(figRate, []float64{13, 14, 15}, []float64{10, 11, 12}, "worse")
	check(figCPU, []float64{13, 14, 15}, []float64{10, 11, 12}, "better")
	check(figCPU, []float64{10, 11, 12}, []float64{13, 14, 15}, "worse")
	check(figRate, []float64{10, 11, 13}, []float64{12, 14, 15}, "within the spread")
	check(figRate, []float64{10, 11}, []float64{20, 21}, "too few runs")
}

func TestSummarise(t *testing.T) {
	check := func(all []float64, want summary) {
		t.Helper()
		if got := summarise(all); got != want {
			t.Errorf("%v: %+v, want %+v", all, got, want)
		}
	}
	check(nil, summary{})
	check([]float64{3, 1, 2}, summary{3, 2, 1, 3})
	check([]float64{4, 1, 2, 3}, summary{4, 2.5, 1, 4})
}

func TestCompareReports(t *testing.T) {
	a := &report{Runs: append(runs("way-nats", figRate, 100, 101, 102), runs("power", figRate, 1)...)}
	b := &report{Runs: append(runs("way-nats", figRate, 200, 202, 204), runs("latency", figRow50, 1)...)}
	var out strings.Builder
	if err := compareReports(&out, []string{"a", "b"}, a, b); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "| events_per_s | 101 (100 – 102) | 202 (200 – 204) | 2.00 | better |") || strings.Contains(out.String(), "power") {
		t.Errorf("got:\n%s", out.String())
	}
	if err := compareReports(&out, []string{"a", "b"}, a, &report{Runs: runs("split", figRate, 1)}); err == nil {
		t.Error("reports without a common part were compared")
	}
}

func TestRunsOnAnOddMachineAreMarked(t *testing.T) {
	r := &report{Runs: runs("way-nats", figRate, 1, 2, 3)}
	r.Runs[2].Index = [2]float64{100, 140}
	for i, want := range []bool{false, false, true} {
		if r.odd(r.Runs[i]) != want {
			t.Errorf("run %d: odd is %v", i, !want)
		}
	}
}

func TestNumber(t *testing.T) {
	check := func(v float64, want string) {
		t.Helper()
		if got := number(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
	check(0, "0")
	check(1.234, "1.23")
	check(56.78, "56.8")
	check(400, "400")
	check(1234567.8, "1,234,568")
}
