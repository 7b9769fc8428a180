package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// panel is one small picture of the growth curves.
type panel struct {
	part  string
	title string
	x     string // what the horizontal axis is, with its unit
	tick  func(x float64) string
}

// panels in the order in which they are drawn; a row has three.
var panels = []panel{
	{"growth-cores", "processor cores", "cores", plain},
	{"growth-shards", "shards", "shards", plain},
	{"growth-sources", "sources", "sources", plain},
	{"growth-size", "size of an event", "KB; below, MB/s", func(x float64) string { return plain(math.Round(10*x) / 10) }},
	{"growth-table", "rows in the table", "million rows", func(x float64) string { return plain(x / 1e6) }},
}

func plain(x float64) string { return fmt.Sprintf("%g", x) }

// Sizes of the picture in pixels.
const (
	panelWidth, panelHeight = 300, 240
	left, right, top, foot  = 58, 16, 34, 58
)

// markAt is one point of a curve: the median over its runs, and their ends.
type markAt struct {
	x, bytes float64
	rate     summary
}

// plot draws the growth curves of a report as one SVG: `bench plot FILE`.
func plot(w io.Writer, args []string) error {
	if len(args) != 1 {
		return errors.New("plot: want one report: bench plot REPORT.json")
	}
	r, err := readReport(args[0])
	if err != nil {
		return err
	}
	return r.plot(w)
}

func (r *report) plot(w io.Writer) error {
	var drawn []string
	for _, p := range panels {
		if marks := r.marks(p.part); len(marks) > 0 {
			drawn = append(drawn, p.draw(marks))
		}
	}
	if text := r.drawBacklog(); text != "" {
		drawn = append(drawn, text)
	}
	if len(drawn) == 0 {
		return errors.New("plot: the report has no growth parts; make bench BENCH=growth,backlog makes them")
	}
	columns := min(3, len(drawn))
	rows := (len(drawn) + columns - 1) / columns
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" font-family="system-ui, sans-serif" font-size="11">
<title>Growth of Millrace: events a second against one thing at a time</title>
<style>
text { fill: #3d444d } .name { font-weight: 600; font-size: 13px } .axis { stroke: #8c959f; fill: none }
.grid { stroke: #8c959f; opacity: .25 } .line { stroke: #2f6f9f; stroke-width: 2; fill: none } .dot { fill: #2f6f9f }
.range { stroke: #2f6f9f; opacity: .6 } .second { stroke: #b5762a; stroke-width: 2; fill: none } .key { fill: #b5762a }
@media (prefers-color-scheme: dark) { text { fill: #c9d1d9 } .line, .range { stroke: #6cb2e6 } .dot { fill: #6cb2e6 } .second { stroke: #e0a458 } .key { fill: #e0a458 } }
</style>
`, columns*panelWidth, rows*panelHeight, columns*panelWidth)
	for i, text := range drawn {
		fmt.Fprintf(w, "<g transform=\"translate(%d %d)\">\n%s</g>\n", i%columns*panelWidth, i/columns*panelHeight, text)
	}
	_, err := fmt.Fprintln(w, "</svg>")
	return err
}

// marks are the points of a part's curve from left to right.
func (r *report) marks(part string) (all []markAt) {
	for _, name := range r.names() {
		runs := r.of(name)
		if runs[0].Part == part {
			all = append(all, markAt{runs[0].X, float64(runs[0].EventBytes), figure(runs, figRate)})
		}
	}
	slices.SortFunc(all, func(a, b markAt) int { return cmp.Compare(a.x, b.x) })
	return all
}

// draw is one panel, its points as far apart as their order of magnitude.
func (p panel) draw(marks []markAt) string {
	highest := 0.0
	for _, m := range marks {
		highest = max(highest, m.rate.top)
	}
	var b strings.Builder
	a := axes{highest: nice(highest)}
	a.frame(&b, "events/s over "+p.title, p.x, "events/s")
	at := func(i int) float64 { return a.across((float64(i) + 0.5) / float64(len(marks))) }
	var line []string
	for i, m := range marks {
		x, y := at(i), a.up(m.rate.median)
		line = append(line, fmt.Sprintf("%.1f,%.1f", x, y))
		fmt.Fprintf(&b, `<path class="range" d="M%.1f %.1fV%.1f"/><circle class="dot" cx="%.1f" cy="%.1f" r="3"/>`+"\n", x, a.up(m.rate.least), a.up(m.rate.top), x, y)
		above := y - 8
		if above < top+4 {
			above = y + 16
		}
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="middle">%s</text>`+"\n", x, above, thousands(m.rate.median))
		if p.part == "growth-size" {
			fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle" class="key">%s</text>`+"\n", x, panelHeight-foot+30, number(m.rate.median*m.bytes/1e6))
		}
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", x, panelHeight-foot+16, p.tick(m.x))
	}
	fmt.Fprintf(&b, `<polyline class="line" points="%s"/>`+"\n", strings.Join(line, " "))
	return b.String()
}

// drawBacklog is the memory while the largest backlog drained, "" without one.
func (r *report) drawBacklog() string {
	var last result
	for _, run := range r.Runs {
		if run.Part == "backlog" && run.X >= last.X && len(run.Memory) > 1 {
			last = run
		}
	}
	if last.Part == "" {
		return ""
	}
	highest := 0.0
	for _, p := range last.Memory {
		highest = max(highest, p.Services, p.ClickHouse)
	}
	var b strings.Builder
	a := axes{highest: nice(highest)}
	a.frame(&b, "memory while "+thousands(last.X)+" events drain", "seconds", "MB")
	length := last.Memory[len(last.Memory)-1].Seconds
	var services, click []string
	for _, p := range last.Memory {
		x := a.across(p.Seconds / length)
		services = append(services, fmt.Sprintf("%.1f,%.1f", x, a.up(p.Services)))
		click = append(click, fmt.Sprintf("%.1f,%.1f", x, a.up(p.ClickHouse)))
	}
	fmt.Fprintf(&b, `<polyline class="line" points="%s"/><polyline class="second" points="%s"/>`+"\n", strings.Join(services, " "), strings.Join(click, " "))
	fmt.Fprintf(&b, `<text x="%d" y="%d">services + NATS</text><text x="%d" y="%d" class="key">ClickHouse</text>`+"\n", left+8, panelHeight-foot-22, left+8, panelHeight-foot-8)
	for i := range 5 {
		share := float64(i) / 4
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%.3g</text>`+"\n", a.across(share), panelHeight-foot+16, share*length)
	}
	return b.String()
}

// axes map values to pixels of a panel.
type axes struct{ highest float64 }

func (a axes) up(v float64) float64 {
	return panelHeight - foot - v/a.highest*(panelHeight-foot-top)
}

func (a axes) across(share float64) float64 { return left + share*(panelWidth-left-right) }

// frame draws axes, grid and titles.
func (a axes) frame(b *strings.Builder, title, x, y string) {
	fmt.Fprintf(b, `<text class="name" x="%d" y="18">%s</text>`+"\n", left, title)
	for i := range 5 {
		v := a.highest * float64(i) / 4
		fmt.Fprintf(b, `<path class="grid" d="M%d %.1fH%d"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			left, a.up(v), panelWidth-right, left-6, a.up(v)+4, thousands(v))
	}
	fmt.Fprintf(b, `<path class="axis" d="M%d %dV%dH%d"/>`+"\n", left, top, panelHeight-foot, panelWidth-right)
	fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", a.across(0.5), panelHeight-10, x)
	fmt.Fprintf(b, `<text transform="translate(12 %d) rotate(-90)" text-anchor="middle">%s</text>`+"\n", (panelHeight-foot+top)/2, y)
}

// nice is the next round number above v, so that a quarter of it is round too.
func nice(v float64) float64 {
	if v <= 0 {
		return 4
	}
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 1.2, 2, 2.4, 3.2, 4, 6, 8, 10} {
		if m*unit >= v*1.08 {
			return m * unit
		}
	}
	return 12 * unit
}

// thousands is a number for an axis: 200k, 1.5k, 40.
func thousands(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.3gM", v/1e6)
	case v >= 1e3:
		return fmt.Sprintf("%.3gk", v/1e3)
	}
	return fmt.Sprintf("%.3g", v)
}
