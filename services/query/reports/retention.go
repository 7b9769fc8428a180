package reports

import (
	"context"
	_ "embed"
	"slices"
	"time"
)

//go:embed retention.sql
var sqlRetention string

// Retention is how many people come back: a cohort for each interval, of the people whose first start in the period lies
// in it. Period k of a cohort counts those who returned in the k-th interval after their own (0 is their own), or, in mode
// unbounded, in the k-th or any later one of the period.
type Retention struct {
	Interval string   `json:"interval"`
	Mode     string   `json:"mode"`
	Cohorts  []Cohort `json:"cohorts"` // one for each interval, also of nobody
}

// Cohort is the people who started in one interval.
type Cohort struct {
	Start time.Time `json:"start"`
	Size  uint64    `json:"size"`
	// Returned ends where the period does: what comes later is not known.
	Returned []uint64  `json:"returned"`
	Shares   []float64 `json:"shares"`
}

const (
	modeExact     = "exact"
	modeUnbounded = "unbounded"
)

type retention struct {
	start, back []string
	mode        string
	periods     int
}

func readRetention(in *input) question {
	in.scoped()
	in.sampled()
	q := retention{
		start:   in.texts("start", "name of an event with which somebody starts; any without it"),
		back:    in.texts("return", "name of an event with which somebody returns; any without it"),
		mode:    in.choice("mode", modeExact, "exact: back in that interval; unbounded: in that or a later one", modeExact, modeUnbounded),
		periods: in.integer("periods", 12, 1, 100, "how many intervals after their own are looked at"),
	}
	if len(in.scope.buckets()) > 400 {
		in.refuse("retention has at most 400 cohorts: choose a longer interval")
	}
	in.bounded(q.periods+1, 2)
	in.compared()
	return q
}

func (q retention) answer(ctx context.Context, c *call) (any, error) {
	var events []string // all, when any event will do on one side
	if len(q.start) > 0 && len(q.back) > 0 {
		events = slices.Concat(q.start, q.back)
	}
	p := c.params(events)
	p.texts("start", q.start)
	p.texts("return", q.back)
	p.raw("mode", q.mode)
	p.number("periods", int64(q.periods))
	rows, err := c.ask(ctx, sqlRetention, p)
	if err != nil {
		return nil, err
	}
	buckets := c.scope.buckets()
	r := &Retention{Interval: c.scope.interval, Mode: q.mode, Cohorts: make([]Cohort, len(buckets))}
	for i, at := range buckets {
		n := min(q.periods, len(buckets)-1-i) + 1
		r.Cohorts[i] = Cohort{Start: at, Returned: make([]uint64, n), Shares: make([]float64, n)}
	}
	for _, row := range rows.Data {
		var cohort, k int32
		var people uint64
		if err := scan(row, &cohort, &k, &people); err != nil {
			return nil, err
		}
		i, err := index(cohort, len(buckets))
		if err != nil {
			return nil, err
		}
		if k < 0 {
			r.Cohorts[i].Size = c.scope.people(people)
			continue
		}
		if _, err := index(k, len(r.Cohorts[i].Returned)); err != nil {
			return nil, err
		}
		r.Cohorts[i].Returned[k] = c.scope.people(people)
	}
	for _, cohort := range r.Cohorts {
		for k, n := range cohort.Returned {
			cohort.Shares[k] = share(n, cohort.Size)
		}
	}
	return r, nil
}
