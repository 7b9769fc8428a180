package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestPlot(t *testing.T) {
	r := &report{}
	for _, x := range []float64{1, 4, 16} {
		r.Runs = append(r.Runs, result{Part: "growth-shards", Case: plain(x), X: x, EventBytes: 628, Figures: map[string]float64{figRate: 1000 * x}})
	}
	r.Runs = append(r.Runs, result{Part: "backlog", X: 5e6, Memory: []point{{0, 100, 200}, {10, 150, 250}}})
	var out strings.Builder
	if err := r.plot(&out); err != nil {
		t.Fatal(err)
	}
	for dec := xml.NewDecoder(strings.NewReader(out.String())); ; {
		if _, err := dec.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, out.String())
		}
	}
	if n := strings.Count(out.String(), "<circle"); n != 3 {
		t.Errorf("%d points, want 3", n)
	}
	for _, want := range []string{"events/s over shards", "memory while 5M events drain", ">16k<"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in the picture", want)
		}
	}
	if err := (&report{}).plot(&out); err == nil {
		t.Error("a report without growth parts was drawn")
	}
}

func TestNice(t *testing.T) {
	for v := 0.5; v < 1e7; v *= 1.3 {
		if n := nice(v); n < v || n > 2.6*v {
			t.Errorf("axis for %g ends at %g", v, n)
		}
	}
}
