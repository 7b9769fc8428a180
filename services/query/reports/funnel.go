package reports

import (
	"context"
	_ "embed"
	"encoding/json"
	"slices"
	"time"
)

var (
	//go:embed funnel.sql
	sqlFunnel string
	//go:embed funnel_dropped.sql
	sqlFunnelDropped string
)

// Funnel is how many people come how far through steps. Somebody comes as far as step k when they did the steps 1..k one
// after the other within the window, counted from the first of them, anything else in between. Steps of one millisecond are in
// the order that brings them farthest. All of it lies in the period.
type Funnel struct {
	Steps []FunnelStep `json:"steps"`
	// Segments: the largest first, the one of all other values last. With compare, the period before has segments of the
	// same values.
	Segments []FunnelSegment `json:"segments,omitempty"`
	// Dropped are people who came as far as the step that was asked for and no farther, the latest first.
	Dropped []Dropped `json:"dropped,omitempty"`
}

// FunnelStep is one step of a funnel.
type FunnelStep struct {
	Event string `json:"event"`
	Users uint64 `json:"users"` // who came at least as far
	// OfFirst and OfPrevious are shares: of those who did the first step, and the step before.
	OfFirst    float64 `json:"of_first"`
	OfPrevious float64 `json:"of_previous"`
	Lost       uint64  `json:"lost"` // who came from the step before and not here
}

// FunnelSegment is a funnel of the people whose first step had a value of the dimension. Who did the first step more than
// once belongs to the value of the earliest.
type FunnelSegment struct {
	Value string       `json:"value"`
	Other bool         `json:"other,omitempty"`
	Steps []FunnelStep `json:"steps"`
}

// Dropped is somebody who went no farther.
type Dropped struct {
	User string    `json:"user"`
	Last time.Time `json:"last"` // when they last did any of the steps
}

const (
	maxSteps  = 10
	maxWindow = 366 * 24 * time.Hour
)

type funnel struct {
	steps  []string
	window time.Duration
	by     dimension
	limit  int

	dropped, droppedLimit int

	found *[]string // the values of the first answer, for the one that is compared with it
}

func readFunnel(in *input) question {
	in.scoped()
	in.sampled()
	q := funnel{
		steps:   in.many(Param{Name: "step", Type: "text", Many: true, Required: true, About: "name of the event of a step; given 2 to 10 times, in order, each name once"}),
		window:  in.duration("window", "7d", time.Millisecond, maxWindow, "longest time from the first step to the last"),
		by:      in.dimension("by", "", "dimension to break down by, as it was at the first step"),
		dropped: in.integer("dropped", 0, 0, maxSteps, "also list people who came as far as this step, counted from 1, and no farther"),
		limit:   in.integer("limit", 10, 1, 1000, "how many values of the dimension are listed"),
		found:   new([]string),

		droppedLimit: in.integer("dropped_limit", 10, 1, 1000, "how many of the people of dropped are listed"),
	}
	sorted := slices.Sorted(slices.Values(q.steps))
	switch {
	case len(q.steps) < 2 || len(q.steps) > maxSteps:
		in.refuse("step is given %d times: a funnel has 2 to %d", len(q.steps), maxSteps)
	case len(slices.Compact(sorted)) < len(q.steps):
		in.refuse("step: a funnel has each event once")
	case q.dropped > len(q.steps):
		in.refuse("dropped %d: the funnel has %d steps", q.dropped, len(q.steps))
	}
	in.compared()
	return q
}

func (q funnel) answer(ctx context.Context, c *call) (any, error) {
	p := c.params(q.steps)
	p.texts("steps", q.steps)
	p.number("window", q.window.Milliseconds())
	p.dimension(q.by)
	p.number("limit", int64(q.limit))
	p.texts("only", *q.found)
	rows, err := c.ask(ctx, sqlFunnel, p)
	if err != nil {
		return nil, err
	}
	all := make([]uint64, len(q.steps))
	if len(rows.Totals) > 0 {
		if _, all, err = q.row(rows.Totals); err != nil {
			return nil, err
		}
	}
	f := &Funnel{Steps: q.cumulate(c, all)}
	if q.by.kind != "" {
		if f.Segments, err = q.segments(c, rows.Data, all); err != nil {
			return nil, err
		}
	}
	if q.dropped > 0 {
		p.number("dropped", int64(q.dropped))
		p.number("limit", int64(q.droppedLimit))
		if f.Dropped, err = q.list(ctx, c, p); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// row reads how many of a segment came exactly so far.
func (q funnel) row(row []json.RawMessage) (segment string, exactly []uint64, err error) {
	if err := scan(row, &segment, &exactly); err != nil {
		return "", nil, err
	}
	// The totals of nobody are an array of nothing.
	if len(exactly) == 0 {
		exactly = make([]uint64, len(q.steps))
	}
	if len(exactly) != len(q.steps) {
		return "", nil, fault("ClickHouse counts %d steps of %d", len(exactly), len(q.steps))
	}
	return segment, exactly, nil
}

// cumulate turns how many came exactly so far into how many came at least so far.
func (q funnel) cumulate(c *call, exactly []uint64) []FunnelStep {
	steps := make([]FunnelStep, len(exactly))
	sum := uint64(0)
	for i := len(exactly) - 1; i >= 0; i-- {
		sum += exactly[i]
		steps[i] = FunnelStep{Event: q.steps[i], Users: c.scope.people(sum)}
	}
	for i := range steps {
		before := steps[max(i-1, 0)].Users
		steps[i].Lost = before - steps[i].Users
		steps[i].OfFirst, steps[i].OfPrevious = share(steps[i].Users, steps[0].Users), share(steps[i].Users, before)
	}
	return steps
}

func share(part, of uint64) float64 {
	if of == 0 {
		return 0
	}
	return float64(part) / float64(of)
}

// segments are those that ClickHouse lists, and what is left of all.
func (q funnel) segments(c *call, rows [][]json.RawMessage, all []uint64) ([]FunnelSegment, error) {
	list := []FunnelSegment{}
	rest := slices.Clone(all)
	var found []string
	for _, row := range rows {
		segment, exactly, err := q.row(row)
		if err != nil {
			return nil, err
		}
		if len(*q.found) > 0 && !slices.Contains(*q.found, segment) {
			continue
		}
		for i, n := range exactly {
			rest[i] -= n
		}
		found = append(found, segment)
		list = append(list, FunnelSegment{Value: segment, Steps: q.cumulate(c, exactly)})
	}
	*q.found = found
	if slices.Max(rest) > 0 {
		list = append(list, FunnelSegment{Other: true, Steps: q.cumulate(c, rest)})
	}
	return list, nil
}

func (q funnel) list(ctx context.Context, c *call, p params) ([]Dropped, error) {
	rows, err := c.ask(ctx, sqlFunnelDropped, p)
	if err != nil {
		return nil, err
	}
	list := []Dropped{}
	for _, row := range rows.Data {
		var d Dropped
		var last int64
		if err := scan(row, &d.User, &last); err != nil {
			return nil, err
		}
		d.Last = time.UnixMilli(last).UTC()
		list = append(list, d)
	}
	return list, nil
}
