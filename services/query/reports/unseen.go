package reports

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strings"
)

//go:embed known_name.sql
var sqlKnownName string

// unseen are the names of events in a question of which its result has none: one of them may be mistyped.
func unseen(q question, result any) []string {
	switch q := q.(type) {
	case trend:
		if !slices.ContainsFunc(result.(*Trend).Series, func(s Series) bool { return number(s.Total) != 0 }) {
			return q.events
		}
	case top:
		if len(result.(*Top).Rows) == 0 {
			return q.events
		}
	case funnel:
		var names []string
		for _, step := range result.(*Funnel).Steps {
			if step.Users == 0 {
				names = append(names, step.Event)
			}
		}
		return names
	case retention:
		cohorts := result.(*Retention).Cohorts
		if !slices.ContainsFunc(cohorts, func(c Cohort) bool { return c.Size > 0 }) {
			return slices.Concat(q.start, q.back)
		}
		if !slices.ContainsFunc(cohorts, func(c Cohort) bool { return slices.Max(c.Returned) > 0 }) {
			return q.back
		}
	case paths:
		if len(result.(*Paths).Paths) == 0 {
			return slices.DeleteFunc(slices.Concat(q.events, []string{q.start, q.end}), func(name string) bool { return name == "" })
		}
	case sessions:
		if result.(*Sessions).Total.Sessions == 0 {
			return q.events
		}
	case stickiness:
		if result.(*Stickiness).Users == 0 {
			return q.events
		}
	case revenue:
		if len(result.(*Revenue).Currencies) == 0 {
			return q.events
		}
	case timeline:
		if len(result.(*Timeline).Events) == 0 {
			return q.events
		}
	}
	return nil
}

// nameNotes says which of the names no event has, in the sources that were asked about.
func (r *Reports) nameNotes(ctx context.Context, c *call, who Asker, sources, names []string) (notes []string, err error) {
	slices.Sort(names)
	where := ""
	if len(sources) > 0 {
		where = " in the source " + strings.Join(sources, ", ")
	}
	for _, name := range slices.Compact(names) {
		// What one key sees is not what another does.
		key := who.sees() + "\x00" + strings.Join(c.scope.sources, ",") + "\x00" + name
		if r.known.has(key) {
			continue
		}
		p := params{}
		p.texts("sources", c.scope.sources)
		p.text("name", name)
		rows, err := c.ask(ctx, sqlKnownName, p)
		if err != nil {
			return nil, fmt.Errorf("look for events named %q: %w", name, err)
		}
		if len(rows.Data) == 0 {
			notes = append(notes, fmt.Sprintf("there are no events named %q%s, of any time: is that the name?", name, where))
			continue
		}
		r.known.add(key)
	}
	return notes, nil
}
