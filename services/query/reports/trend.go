package reports

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"slices"
	"time"
)

var (
	//go:embed trend.sql
	sqlTrend string
	//go:embed trend_by.sql
	sqlTrendBy string
)

// Trend is how something changes over time.
type Trend struct {
	Interval string      `json:"interval"`
	Buckets  []time.Time `json:"buckets"` // their beginnings
	// Series: the largest first, the one of all other values last. With compare, the period before has series for the
	// same values.
	Series []Series `json:"series"`
}

// Series is one line of a trend. A number is null where there is nothing to take the average of.
type Series struct {
	Value string `json:"value"` // of the dimension; empty without one
	// Other: these are all values that have no series of their own, together.
	Other bool `json:"other,omitempty"`
	// Total is measured over the whole period: different people of all buckets are not the sum of those of each.
	Total  *float64   `json:"total"`
	Values []*float64 `json:"values"` // one for each bucket
}

type trend struct {
	events []string
	measure
	by    dimension
	limit int

	found *[]string // the values of the first answer, for the one that is compared with it
}

func readTrend(in *input) question {
	in.scoped()
	in.sampled()
	q := trend{
		events:  in.events("only events of this name; a call without a name is named by its type, such as page"),
		measure: in.measure(),
		by:      in.dimension("by", "", "dimension to break down by, such as browser or properties.plan"),
		limit:   in.integer("limit", 10, 1, 100, "how many values of the dimension have a series of their own"),
		found:   new([]string),
	}
	if q.by.kind != "" {
		in.bounded(q.limit+1, 1)
	}
	in.compared()
	return q
}

func (q trend) answer(ctx context.Context, c *call) (any, error) {
	buckets := c.scope.buckets()
	t := &Trend{Interval: c.scope.interval, Buckets: buckets, Series: []Series{}}
	p := c.params(q.events)
	q.params(p)
	if q.by.kind == "" {
		rows, err := c.ask(ctx, sqlTrend, p)
		if err != nil {
			return nil, err
		}
		t.Series = append(t.Series, q.series("", false, len(buckets)))
		for _, row := range rows.Data {
			if err := q.put(c, &t.Series[0], row); err != nil {
				return nil, err
			}
		}
		return t, nil
	}
	p.dimension(q.by)
	p.number("limit", int64(q.limit))
	p.texts("only", *q.found)
	rows, err := c.ask(ctx, sqlTrendBy, p)
	if err != nil {
		return nil, err
	}
	type key struct {
		other uint8
		value string
	}
	at := map[key]int{}
	for _, row := range rows.Data {
		var k key
		if err := scan(row[1:3], &k.other, &k.value); err != nil {
			return nil, err
		}
		i, ok := at[k]
		if !ok {
			i = len(t.Series)
			at[k] = i
			t.Series = append(t.Series, q.series(k.value, k.other == 1, len(buckets)))
			if k.other == 0 {
				*q.found = append(*q.found, k.value)
			}
		}
		if err := q.put(c, &t.Series[i], append(row[:1:1], row[3:]...)); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(t.Series, func(a, b Series) int {
		if a.Other != b.Other {
			return map[bool]int{true: 1, false: -1}[a.Other]
		}
		return cmp.Or(cmp.Compare(number(b.Total), number(a.Total)), cmp.Compare(a.Value, b.Value))
	})
	return t, nil
}

func (q trend) series(value string, other bool, n int) Series {
	s := Series{Value: value, Other: other, Total: q.nothing(), Values: make([]*float64, n)}
	for i := range s.Values {
		s.Values[i] = q.nothing()
	}
	return s
}

// put places a row of whole, bucket, measured.
func (q trend) put(c *call, s *Series, row []json.RawMessage) error {
	var whole uint8
	var bucket int32
	var measured float64
	if err := scan(row, &whole, &bucket, &measured); err != nil {
		return err
	}
	if whole == 1 {
		s.Total = q.value(&c.scope, measured)
		return nil
	}
	i, err := index(bucket, len(s.Values))
	if err != nil {
		return err
	}
	s.Values[i] = q.value(&c.scope, measured)
	return nil
}

func number(x *float64) float64 {
	if x == nil {
		return 0
	}
	return *x
}
