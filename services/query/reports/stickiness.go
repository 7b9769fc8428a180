package reports

import (
	"context"
	_ "embed"
)

//go:embed stickiness.sql
var sqlStickiness string

// Stickiness is on how many days (weeks, ...) of the period people are active.
type Stickiness struct {
	Interval  string `json:"interval"`
	Intervals int    `json:"intervals"` // of the period
	Users     uint64 `json:"users"`     // who were active at all
	// ActiveIn is how many people were active in exactly 1, 2, ... intervals.
	ActiveIn []uint64 `json:"active_in"`
	// Average is how many people an interval has on average, Ratio the share of all that is: 1 when everybody comes in
	// every interval.
	Average float64 `json:"average"`
	Ratio   float64 `json:"ratio"`
}

type stickiness struct{ events []string }

func readStickiness(in *input) question {
	in.scoped()
	in.sampled()
	q := stickiness{events: in.events("only events of this name count as being active")}
	in.compared()
	return q
}

func (q stickiness) answer(ctx context.Context, c *call) (any, error) {
	rows, err := c.ask(ctx, sqlStickiness, c.params(q.events))
	if err != nil {
		return nil, err
	}
	n := len(c.scope.buckets())
	s := &Stickiness{Interval: c.scope.interval, Intervals: n, ActiveIn: make([]uint64, n)}
	var users, visits uint64 // before scaling
	for _, row := range rows.Data {
		var active int32
		var people uint64
		if err := scan(row, &active, &people); err != nil {
			return nil, err
		}
		i, err := index(active-1, n)
		if err != nil {
			return nil, err
		}
		s.ActiveIn[i] = c.scope.people(people)
		users += people
		visits += people * uint64(active)
	}
	s.Users = c.scope.people(users)
	if users > 0 {
		s.Average = c.scope.scaled(float64(visits)) / float64(n)
		s.Ratio = float64(visits) / float64(n) / float64(users)
	}
	return s, nil
}
