package reports

import (
	"context"
	_ "embed"
)

//go:embed top.sql
var sqlTop string

// Top is the values of a dimension that come up most.
type Top struct {
	Rows []TopRow `json:"rows"`
	// Values is how many different values there are, Total what is measured of all of them together. With a comparison,
	// the previous period's rows are those of the same values.
	Values uint64   `json:"values"`
	Total  *float64 `json:"total"`
}

// TopRow is one value.
type TopRow struct {
	Value    string   `json:"value"`
	Measured *float64 `json:"measured"`
}

type top struct {
	events []string
	measure
	by    dimension
	limit int

	found *[]string // the values of the first answer, for the one that is compared with it
}

func readTop(in *input) question {
	in.scoped()
	in.sampled()
	q := top{
		by:      in.dimension("by", "name", "the dimension, such as path, utm_source or properties.plan"),
		events:  in.events("only events of this name"),
		measure: in.measure(),
		limit:   in.integer("limit", 10, 1, 1000, "how many values"),
		found:   new([]string),
	}
	in.compared()
	return q
}

func (q top) answer(ctx context.Context, c *call) (any, error) {
	p := c.params(q.events)
	q.params(p)
	p.dimension(q.by)
	p.number("limit", int64(q.limit))
	p.texts("only", *q.found)
	rows, err := c.ask(ctx, sqlTop, p)
	if err != nil {
		return nil, err
	}
	t := &Top{Rows: []TopRow{}, Values: rows.Groups, Total: q.nothing()}
	for _, row := range rows.Data {
		var value string
		var measured float64
		if err := scan(row, &value, &measured); err != nil {
			return nil, err
		}
		t.Rows = append(t.Rows, TopRow{value, q.value(&c.scope, measured)})
		*q.found = append(*q.found, value)
	}
	if len(rows.Totals) > 0 {
		var none string
		var measured float64
		if err := scan(rows.Totals, &none, &measured); err != nil {
			return nil, err
		}
		t.Total = q.value(&c.scope, measured)
	}
	return t, nil
}
