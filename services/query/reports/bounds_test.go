package reports

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"
)

// An answer has no more series than were asked for, whatever values a dimension has and however many, nor does ClickHouse
// send more.
func TestSeriesAreBounded(t *testing.T) {
	r := newRig(t)
	const orders = 3000
	var events []happening
	for i := range orders {
		h := happening{
			source: "web", typ: "track", user: fmt.Sprint("u", i), at: r.now.Add(-time.Duration(i+1) * 10 * time.Minute), idx: uint32(2 * i),
			properties: map[string]string{"order_id": fmt.Sprint("o", i), "currency": "EUR"}, numbers: map[string]float64{"revenue": 2},
		}
		h.event = "Cart Viewed"
		second := h
		second.event, second.idx, second.at = "Order Completed", h.idx+1, h.at.Add(time.Second)
		events = append(events, h, second)
	}
	r.store(events)

	revenue, a := answerOf[Revenue](r, "revenue", "last=30d&interval=hour&currency=order_id&limit=3")
	if n := len(revenue.Currencies); n != 4 || len(a.Result) > 1<<20 {
		t.Fatalf("%d currencies, %d bytes", n, len(a.Result))
	}
	rest := revenue.Currencies[3]
	if !rest.Other || rest.Currency != "" || rest.Total.Orders != orders-3 || rest.Total.Buyers != orders-3 || rest.Total.Revenue != nil || rest.Total.Average != nil {
		t.Errorf("all other currencies: %+v", rest.Total)
	}
	for i, want := range []string{"O0", "O1", "O10"} {
		if c := revenue.Currencies[i]; c.Other || c.Currency != want || c.Total.Orders != 1 || *c.Total.Revenue != 2 || *c.Total.Average != 2 {
			t.Errorf("currency %d: %s %+v", i, c.Currency, c.Total)
		}
	}
	if rows := 4 * (len(revenue.Buckets) + 1); r.rows > rows {
		t.Errorf("ClickHouse sent %d rows, want at most %d", r.rows, rows)
	}
	if usual, _ := answerOf[Revenue](r, "revenue", "last=30d&currency=order_id"); len(usual.Currencies) != 11 {
		t.Errorf("%d currencies without a limit", len(usual.Currencies))
	}

	funnel, _ := answerOf[Funnel](r, "funnel", "step=Cart+Viewed&step=Order+Completed&last=30d&by=properties.order_id&limit=3&dropped=2&dropped_limit=5")
	if n := len(funnel.Segments); n != 4 || !funnel.Segments[3].Other || funnel.Segments[3].Steps[1].Users != orders-3 || len(funnel.Dropped) != 5 {
		t.Errorf("%d segments, the last is %+v; %d people", n, funnel.Segments[n-1], len(funnel.Dropped))
	}
	if funnel, _ = answerOf[Funnel](r, "funnel", "step=Cart+Viewed&step=Order+Completed&last=30d&by=properties.order_id&limit=3"); r.rows != 3 {
		t.Errorf("ClickHouse sent %d segments, want 3", r.rows)
	}
	if got := fmt.Sprint(funnel.Steps[0].Users, funnel.Steps[1].Users); got != "3000 3000" {
		t.Errorf("all are %s", got)
	}
}

// The default limits hold for a period of as many intervals as there can be, and the largest ones do not make an answer too
// large: they are refused.
func TestNumbersAreBounded(t *testing.T) {
	r := newRig(t)
	hours := r.now.Add(-(maxBuckets - 1) * time.Hour).Format(time.RFC3339)
	for _, name := range []string{"trend?by=name", "revenue?", "sessions?", "stickiness?", "trend?by=name&limit=49"} {
		report, query, _ := strings.Cut(name, "?")
		if _, err := r.tryAsk(report, query+"&interval=hour&from="+hours); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"trend?by=name&limit=50", "revenue?limit=12"} {
		report, query, _ := strings.Cut(name, "?")
		if _, err := r.tryAsk(report, query+"&interval=hour&from="+hours); err == nil || !strings.Contains(err.Error(), "more than an answer has") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// tryAsk answers a question that may be refused.
func (r *rig) tryAsk(name, query string) (*Answer, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, err
	}
	return r.reports.Answer(r.Context(), Asker{DB: r}, name, values)
}

// Whether somebody is a bot is said in more than one way.
func TestBots(t *testing.T) {
	r := newRig(t)
	r.store([]happening{{source: "web", typ: "track", event: "A", user: "u", at: r.now}})
	for where, want := range map[string]float64{"is_bot=0": 1, "is_bot=false": 1, "is_bot!=1": 1, "is_bot!=True": 1, "is_bot=1": 0, "is_bot=true": 0, "is_bot!=0": 0} {
		if trend, _ := answerOf[Trend](r, "trend", url.Values{"where": {where}}.Encode()); *trend.Series[0].Total != want {
			t.Errorf("%s: %v, want %v", where, *trend.Series[0].Total, want)
		}
	}
}
