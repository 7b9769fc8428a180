package reports

import (
	"cmp"
	"context"
	_ "embed"
	"slices"
	"time"
)

//go:embed revenue.sql
var sqlRevenue string

// Revenue is what orders bring in, a series for each currency, since amounts of different ones do not add up.
type Revenue struct {
	Interval string      `json:"interval"`
	Buckets  []time.Time `json:"buckets"`
	// Currencies: the one with most orders first, the one of all other currencies last. With compare, the period before has
	// the same ones.
	Currencies []Currency `json:"currencies"`
}

// Currency is the orders in one currency; its name is empty for orders that do not say it.
type Currency struct {
	Currency string `json:"currency"`
	// Other: these are all currencies that have no series of their own, together, without amounts.
	Other  bool          `json:"other,omitempty"`
	Total  RevenueStat   `json:"total"`
	Values []RevenueStat `json:"values"` // one for each bucket
}

// RevenueStat is the orders of one interval, or of all. The amounts are null where they are of several currencies.
type RevenueStat struct {
	Orders  uint64   `json:"orders"`
	Buyers  uint64   `json:"buyers"`
	Revenue *float64 `json:"revenue"` // an order without the amount, or whose amount is no number, adds nothing
	Average *float64 `json:"average"` // of an order
}

type revenue struct {
	events             []string
	property, currency string
	limit              int

	found *[]string // the currencies of the first answer, for the one that is compared with it
}

func readRevenue(in *input) question {
	in.scoped()
	in.sampled()
	q := revenue{
		events:   in.events("name of the event that is an order; Order Completed without it"),
		property: in.text("property", "revenue", "the property that has the amount"),
		currency: in.text("currency", "currency", "the property that has the currency"),
		limit:    in.integer("limit", 10, 1, 100, "how many currencies have a series of their own"),
		found:    new([]string),
	}
	if len(q.events) == 0 {
		q.events = []string{"Order Completed"}
	}
	in.echo["event"] = q.events
	in.bounded(q.limit+1, 4)
	in.compared()
	return q
}

func (q revenue) answer(ctx context.Context, c *call) (any, error) {
	p := c.params(q.events)
	p.text("property", q.property)
	p.text("currency", q.currency)
	p.number("limit", int64(q.limit))
	p.texts("only", *q.found)
	rows, err := c.ask(ctx, sqlRevenue, p)
	if err != nil {
		return nil, err
	}
	buckets := c.scope.buckets()
	r := &Revenue{Interval: c.scope.interval, Buckets: buckets, Currencies: []Currency{}}
	type key struct {
		other uint8
		name  string
	}
	at := map[key]int{}
	for _, row := range rows.Data {
		var whole uint8
		var k key
		var bucket int32
		var orders, buyers uint64
		var amount float64
		if err := scan(row, &whole, &k.other, &k.name, &bucket, &orders, &buyers, &amount); err != nil {
			return nil, err
		}
		i, ok := at[k]
		if !ok {
			i = len(r.Currencies)
			at[k] = i
			r.Currencies = append(r.Currencies, noRevenue(k.name, k.other == 1, len(buckets)))
			if k.other == 0 {
				*q.found = append(*q.found, k.name)
			}
		}
		st := RevenueStat{Orders: c.scope.people(orders), Buyers: c.scope.people(buyers)}
		if k.other == 0 {
			scaled, average := c.scope.scaled(amount), amount/float64(orders)
			st.Revenue, st.Average = &scaled, &average
		}
		if whole == 1 {
			r.Currencies[i].Total = st
			continue
		}
		b, err := index(bucket, len(buckets))
		if err != nil {
			return nil, err
		}
		r.Currencies[i].Values[b] = st
	}
	slices.SortFunc(r.Currencies, func(a, b Currency) int {
		if a.Other != b.Other {
			return map[bool]int{true: 1, false: -1}[a.Other]
		}
		return cmp.Or(cmp.Compare(b.Total.Orders, a.Total.Orders), cmp.Compare(a.Currency, b.Currency))
	})
	return r, nil
}

// noRevenue is a series in which nothing was ordered.
func noRevenue(name string, other bool, n int) Currency {
	s := Currency{Currency: name, Other: other, Values: make([]RevenueStat, n)}
	if nothing := 0.0; !other {
		for i := range s.Values {
			s.Values[i] = RevenueStat{Revenue: &nothing, Average: &nothing}
		}
	}
	return s
}
