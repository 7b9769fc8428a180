package cli

import (
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/services/query/reports"
)

// sparkWidth is how many cells a line of bars may have.
const sparkWidth = 60

func (a *app) trend() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trend [EVENT ...]",
		Short: "Show how something changes over time",
		Long: `Show how many events of the names there were in each interval of a period, or
how many different people, or the sum or average of a property. Without a name,
all events count. With --by there is a line for each of the leading values of a
column or a property.`,
		Example: `  millrace trend 'Order Completed' --last 30d
  millrace trend --measure users --by browser --last 12w --interval week
  millrace trend 'Order Completed' --measure sum --property revenue --compare`,
	}
	var f reportFlags
	var measure, property, by, limit string
	s := f.register(cmd, func(fs *flag.FlagSet) {
		fs.StringVar(&measure, "measure", "count", "`what` is measured: count, users, sum or average")
		fs.StringVar(&property, "property", "", "`name` of the property of which the sum or the average is taken")
		fs.StringVar(&by, "by", "", "`dimension` to break down by, such as browser, utm_source or properties.plan")
		fs.StringVar(&limit, "limit", "", "how many values have a line of their own, a `number` (default 10)")
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if done, err := a.fill(s); done || err != nil {
			return err
		}
		v := f.values()
		v["event"] = args
		v.Set("measure", measure)
		setIf(v, "property", property)
		setIf(v, "by", by)
		setIf(v, "limit", limit)
		t, prev, ans, printed, err := report[reports.Trend](cmd.Context(), a, &f, "trend", v)
		if printed || err != nil {
			return err
		}
		a.note(ans)
		if by == "" {
			return a.printSeries(t, prev, measure, ans)
		}
		return a.printTrend(t, prev, measure)
	}
	return cmd
}

// printSeries prints one series, a row for each bucket.
func (a *app) printSeries(t reports.Trend, prev *reports.Trend, measure string, ans reports.Answer) error {
	terminal := isTerminal(a.stdout)
	header := []string{strings.ToUpper(t.Interval), strings.ToUpper(measure)}
	if prev != nil {
		header = append(header, "BEFORE")
	}
	g := newGrid(a.stdout, header...)
	series := t.Series[0]
	highest := 0.0
	for _, v := range series.Values {
		if v != nil {
			highest = max(highest, *v)
		}
	}
	zone := zoneOf(ans)
	for i, at := range t.Buckets {
		cells := []string{at.In(zone).Format(bucketForm(t.Interval)), figure(series.Values[i])}
		if prev != nil {
			var before *float64
			if i < len(prev.Buckets) {
				before = prev.Series[0].Values[i]
			}
			cells = append(cells, figure(before))
		}
		if terminal && series.Values[i] != nil && highest > 0 {
			cells[len(cells)-1] += "\t" + padded(bar(*series.Values[i]/highest, 30), 30)
		}
		g.row(cells...)
	}
	cells := []string{"all", figure(series.Total)}
	if prev != nil {
		cells = append(cells, figure(prev.Series[0].Total))
	}
	g.row(cells...)
	return g.flush()
}

// padded fills up to a width with blanks: the grid would put the bar to the right.
func padded(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-len([]rune(text))))
}

// printTrend prints a row for each series.
func (a *app) printTrend(t reports.Trend, prev *reports.Trend, measure string) error {
	terminal := isTerminal(a.stdout)
	header := []string{"VALUE", strings.ToUpper(measure)}
	if prev != nil {
		header = append(header, "BEFORE")
	}
	g := newGrid(a.stdout, header...)
	for _, series := range t.Series {
		cells := []string{named(series.Value, series.Other), figure(series.Total)}
		if prev != nil {
			var before *float64 // not among the leading values of the period before
			if i := slices.IndexFunc(prev.Series, func(s reports.Series) bool {
				return s.Value == series.Value && s.Other == series.Other
			}); i >= 0 {
				before = prev.Series[i].Total
			}
			cells = append(cells, figure(before))
		}
		if terminal {
			cells = append(cells, spark(fewer(series.Values, sparkWidth)))
		}
		g.row(cells...)
	}
	if err := g.flush(); err != nil {
		return err
	}
	if len(t.Series) == 0 {
		fmt.Fprintln(a.stderr, "there are no such events in the period")
	}
	return nil
}
