package reports

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// plays choose a report's parameters, and say what the model answers.
func plays() map[string]func(s *story, values url.Values, m *model) func(previous bool) any {
	return map[string]func(s *story, values url.Values, m *model) func(previous bool) any{
		"trend": func(s *story, values url.Values, m *model) func(bool) any {
			s.named(values, m)
			what, property := s.measure(values)
			if s.g.IntN(3) == 0 {
				return func(bool) any { return m.trend(what, property, nil, 0, nil) }
			}
			by, limit := pick(s.g, slices.Sorted(maps.Keys(dims()))), 1+s.g.IntN(6)
			values.Set("by", by)
			values.Set("limit", strconv.Itoa(limit))
			var only []string
			return func(previous bool) any {
				t := m.trend(what, property, dims()[by], limit, only)
				for _, s := range t.Series {
					if !previous && !s.Other {
						only = append(only, s.Value)
					}
				}
				return t
			}
		},
		"top": func(s *story, values url.Values, m *model) func(bool) any {
			s.named(values, m)
			what, property := s.measure(values)
			by, limit := pick(s.g, slices.Sorted(maps.Keys(dims()))), 1+s.g.IntN(6)
			values.Set("by", by)
			values.Set("limit", strconv.Itoa(limit))
			var only []string
			return func(previous bool) any {
				if !previous {
					top := m.top(what, property, dims()[by], limit, nil)
					for _, row := range top.Rows {
						only = append(only, row.Value)
					}
					return top
				}
				return m.top(what, property, dims()[by], limit, only)
			}
		},
		"funnel": func(s *story, values url.Values, m *model) func(bool) any {
			var steps []string
			for len(steps) < 2 {
				steps = some(s.g, 6, append([]string{"page"}, s.names...))
			}
			m.names = steps
			values["step"] = steps
			w := pick(s.g, []time.Duration{window, window, time.Millisecond, 24 * time.Hour, 300 * 24 * time.Hour})
			values.Set("window", w.String())
			limit, droppedLimit, dropped := 1+s.g.IntN(6), 1+s.g.IntN(6), s.g.IntN(len(steps)+1)
			values.Set("limit", strconv.Itoa(limit))
			values.Set("dropped_limit", strconv.Itoa(droppedLimit))
			values.Set("dropped", strconv.Itoa(dropped))
			var dim func(*happening) string
			if s.g.IntN(2) == 0 {
				by := pick(s.g, slices.Sorted(maps.Keys(dims())))
				values.Set("by", by)
				dim = dims()[by]
			}
			var only []string
			return func(previous bool) any {
				f := m.funnel(steps, w, dim, limit, dropped, droppedLimit, only)
				for _, s := range f.Segments {
					if !previous && !s.Other {
						only = append(only, s.Value)
					}
				}
				return f
			}
		},
		"retention": func(s *story, values url.Values, m *model) func(bool) any {
			if s.interval == "minute" {
				values.Set("interval", "hour")
				m.interval = "hour"
			}
			start, back := some(s.g, 2, append([]string{"page"}, s.names...)), some(s.g, 2, s.names)
			values["start"], values["return"] = start, back
			mode, periods := pick(s.g, []string{"exact", "unbounded"}), 1+s.g.IntN(10)
			values.Set("mode", mode)
			values.Set("periods", strconv.Itoa(periods))
			return func(bool) any { return m.retention(start, back, mode, periods) }
		},
		"stickiness": func(s *story, values url.Values, m *model) func(bool) any {
			s.named(values, m)
			return func(bool) any { return m.stickiness() }
		},
		"sessions": func(s *story, values url.Values, m *model) func(bool) any {
			s.named(values, m)
			return func(bool) any { return m.sessions() }
		},
		"paths": func(s *story, values url.Values, m *model) func(bool) any {
			s.named(values, m)
			var start, end string
			switch s.g.IntN(3) {
			case 0:
				start = pick(s.g, s.names)
				values.Set("start", start)
			case 1:
				end = pick(s.g, s.names)
				values.Set("end", end)
			}
			depth, limit := 2+s.g.IntN(5), 1+s.g.IntN(30)
			values.Set("depth", strconv.Itoa(depth))
			values.Set("limit", strconv.Itoa(limit))
			return func(bool) any { return m.paths(start, end, depth, limit) }
		},
		"revenue": func(s *story, values url.Values, m *model) func(bool) any {
			if s.named(values, m); len(m.names) == 0 {
				m.names = []string{"Order Completed"}
			}
			limit := 1 + s.g.IntN(4)
			values.Set("limit", strconv.Itoa(limit))
			var only []string
			return func(previous bool) any {
				r := m.revenue(limit, only)
				for _, c := range r.Currencies {
					if !previous && !c.Other {
						only = append(only, c.Currency)
					}
				}
				return r
			}
		},
		"timeline": func(s *story, values url.Values, m *model) func(bool) any {
			s.named(values, m)
			values.Del("compare")
			values.Del("sample") // one person is not sampled
			m.sample = 1
			user := pick(s.g, s.people)
			values.Set("user", user)
			values.Set("limit", "1000")
			return func(bool) any {
				events := m.timeline(user)
				if events == nil {
					events = []TimelineEvent{}
				}
				return Timeline{Events: events}
			}
		},
	}
}
