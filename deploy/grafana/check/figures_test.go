package check

import (
	"fmt"
	"math"
	"net/url"
	"strconv"
	"testing"
	"time"
)

// figures compares panels with the reports of the query service, which have proofs of their own: the same question has
// one answer.
func (g *grafana) figures(t *testing.T) {
	b := readBoard(t, "product.json")
	m := g.opens(t, b)
	// The macros know seconds, and their end belongs to the time.
	m.from, m.to = m.from.Truncate(time.Second), m.to.Truncate(time.Second)
	panel := func(title, column string, kind ...string) (values []float64) {
		t.Helper()
		for _, p := range b.Panels {
			if p.Title != title || len(kind) > 0 && p.Type != kind[0] {
				continue
			}
			statement, err := m.sql(p.Targets[0].RawSQL)
			if err != nil {
				t.Fatal(err)
			}
			rows, err := g.askClickHouse(t.Context(), statement)
			if err != nil {
				t.Fatal(err)
			}
			for i, name := range rows.names {
				if name != column {
					continue
				}
				for _, row := range rows.values {
					v, err := strconv.ParseFloat(fmt.Sprint(row[i]), 64)
					if err != nil {
						t.Fatal(err)
					}
					values = append(values, v)
				}
				return values
			}
		}
		t.Fatalf("there is no panel %s with the column %s", title, column)
		return nil
	}
	report := func(name string, more url.Values, v any) {
		t.Helper()
		query := url.Values{
			"from": {m.from.UTC().Format(time.RFC3339Nano)}, "to": {m.to.Add(time.Millisecond).UTC().Format(time.RFC3339Nano)}, "interval": {"hour"}, "source": {shopSource},
		}
		for k := range more {
			query[k] = more[k]
		}
		if _, err := g.asks.Get(t.Context(), "/v1/reports/"+name, query, v); err != nil {
			t.Fatal(err)
		}
	}
	// Reports round to milliseconds.
	check := func(what string, panel []float64, report ...float64) {
		t.Helper()
		if len(panel) != len(report) {
			t.Errorf("%s: the panel has %v, the report %v", what, panel, report)
			return
		}
		for i := range panel {
			if math.Abs(panel[i]-report[i]) > 1e-4*math.Abs(report[i]) || report[i] == 0 {
				t.Errorf("%s: the panel has %v, the report %v", what, panel, report)
			}
		}
	}

	var trend struct {
		Result struct {
			Series []struct {
				Total float64 `json:"total"`
			} `json:"series"`
		} `json:"result"`
	}
	for title, of := range map[string][2]string{"Events": {"events", "count"}, "Active people": {"people", "users"}} {
		report("trend", url.Values{"measure": {of[1]}}, &trend)
		check(title, panel(title, of[0], "stat"), trend.Result.Series[0].Total)
	}
	var sessions struct {
		Result struct {
			Total struct {
				Sessions, Events, Bounced, Seconds float64
			} `json:"total"`
		} `json:"result"`
	}
	report("sessions", nil, &sessions)
	total := sessions.Result.Total
	check("Sessions", panel("Sessions", "sessions", "stat"), total.Sessions)
	check("events of a session", panel("A session", "events"), total.Events/total.Sessions)
	check("length of a session", panel("A session", "length"), total.Seconds*1000)
	check("bounced", panel("A session", "bounced"), total.Bounced/total.Sessions)
	var funnel struct {
		Result struct {
			Steps []struct{ Users float64 } `json:"steps"`
		} `json:"result"`
	}
	report("funnel", url.Values{"step": {m.values["step1"][0], m.values["step2"][0], m.values["step3"][0]}, "window": {"24h"}}, &funnel)
	if s := funnel.Result.Steps; len(s) != 3 {
		t.Errorf("the report's funnel has the steps %v", s)
	} else {
		check("Funnel", panel("Funnel", "people"), s[0].Users, s[1].Users, s[2].Users)
	}
	var revenue struct {
		Result struct {
			Currencies []struct {
				Total struct{ Orders, Buyers, Revenue float64 } `json:"total"`
			} `json:"currencies"`
		} `json:"result"`
	}
	report("revenue", nil, &revenue)
	var orders, income []float64
	for _, c := range revenue.Result.Currencies {
		orders, income = append(orders, c.Total.Orders), append(income, c.Total.Revenue)
	}
	check("orders", panel("Orders by currency", "orders"), orders...)
	if points := len(panel("Events per minute", "events")); points < rounds*perRound*int(betweenActs)/int(time.Minute) {
		t.Errorf("events per minute of %d minutes", points)
	}
	check("revenue", panel("Orders by currency", "revenue"), income...)
}
