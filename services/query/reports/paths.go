package reports

import (
	"context"
	_ "embed"
)

//go:embed paths.sql
var sqlPaths string

// Paths are what people do one after the other in a session (see [Sessions]), a name that comes several times in a row
// being one step.
type Paths struct {
	Paths []Path `json:"paths"` // the most frequent first
	// Different is how many different paths there are, Sessions how many sessions have any.
	Different uint64 `json:"different"`
	Sessions  uint64 `json:"sessions"`
}

// Path is one way through.
type Path struct {
	Steps    []string `json:"steps"`
	Sessions uint64   `json:"sessions"`
}

type paths struct {
	events     []string
	start, end string
	depth      int
	limit      int
}

func readPaths(in *input) question {
	in.scoped()
	in.sampled()
	q := paths{
		events: in.events("only events of this name are steps"),
		start:  in.text("start", "", "name of an event: what follows its first one in a session"),
		end:    in.text("end", "", "name of an event: what leads to its first one in a session"),
		depth:  in.integer("depth", 4, 2, 10, "longest path"),
		limit:  in.integer("limit", 20, 1, 1000, "how many paths"),
	}
	if q.start != "" && q.end != "" {
		in.refuse("start and end: give one of them")
	}
	in.compared()
	return q
}

func (q paths) answer(ctx context.Context, c *call) (any, error) {
	p := c.sessionParams(q.events)
	p.text("start", q.start)
	p.text("end", q.end)
	p.number("depth", int64(q.depth))
	p.number("limit", int64(q.limit))
	rows, err := c.ask(ctx, sqlPaths, p)
	if err != nil {
		return nil, err
	}
	r := &Paths{Paths: []Path{}, Different: rows.Groups}
	for _, row := range rows.Data {
		var path Path
		if err := scan(row, &path.Steps, &path.Sessions); err != nil {
			return nil, err
		}
		path.Sessions = c.scope.people(path.Sessions)
		r.Paths = append(r.Paths, path)
	}
	if len(rows.Totals) > 0 {
		var none []string
		if err := scan(rows.Totals, &none, &r.Sessions); err != nil {
			return nil, err
		}
		r.Sessions = c.scope.people(r.Sessions)
	}
	return r, nil
}
