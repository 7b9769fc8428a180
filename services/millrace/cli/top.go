package cli

import (
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/services/query/reports"
)

func (a *app) top() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "top [DIMENSION]",
		Short: "Show the values that come up most",
		Long: `Show which values of a column or a property come up most in a period: the names
of events without a DIMENSION, else path, browser, utm_source, properties.plan
and so on.`,
		Example: `  millrace top
  millrace top path --last 7d
  millrace top properties.category --event 'Product Added' --measure sum --property price`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError{fmt.Errorf("%s takes one dimension; got %q too", cmd.CommandPath(), args[1])}
			}
			return nil
		},
	}
	var f reportFlags
	var measure, property, limit string
	var events []string
	s := f.register(cmd, func(fs *flag.FlagSet) {
		fs.StringVar(&measure, "measure", "count", "`what` is measured: count, users, sum or average")
		fs.StringVar(&property, "property", "", "`name` of the property of which the sum or the average is taken")
		fs.StringVar(&limit, "limit", "", "how many values, a `number` (default 10)")
	})
	cmd.Flags().StringArrayVar(&events, "event", nil, "only events of this `name`; may be repeated")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if done, err := a.fill(s); done || err != nil {
			return err
		}
		v := f.values()
		v["event"], v["by"] = events, args
		v.Set("measure", measure)
		setIf(v, "property", property)
		setIf(v, "limit", limit)
		t, prev, ans, printed, err := report[reports.Top](cmd.Context(), a, &f, "top", v)
		if printed || err != nil {
			return err
		}
		a.note(ans)
		return a.printTop(t, prev, measure)
	}
	return cmd
}

func (a *app) printTop(t reports.Top, prev *reports.Top, measure string) error {
	terminal := isTerminal(a.stdout)
	header := []string{"VALUE", strings.ToUpper(measure)}
	parts := measure == "count" || measure == "sum" // different people of each value overlap
	if parts {
		header = append(header, "SHARE")
	}
	if prev != nil {
		header = append(header, "BEFORE")
	}
	g := newGrid(a.stdout, header...)
	highest := 0.0
	for _, row := range t.Rows {
		if row.Measured != nil {
			highest = max(highest, *row.Measured)
		}
	}
	for _, row := range t.Rows {
		cells := []string{named(row.Value, false), figure(row.Measured)}
		if parts {
			share := "-"
			if row.Measured != nil && t.Total != nil && *t.Total > 0 {
				share = percentage(*row.Measured / *t.Total)
			}
			cells = append(cells, share)
		}
		if prev != nil {
			before := new(float64)
			if measure == "average" {
				before = nil
			}
			if i := slices.IndexFunc(prev.Rows, func(r reports.TopRow) bool { return r.Value == row.Value }); i >= 0 {
				before = prev.Rows[i].Measured
			}
			cells = append(cells, figure(before))
		}
		if terminal && row.Measured != nil && highest > 0 {
			cells = append(cells, padded(bar(*row.Measured/highest, 30), 30))
		}
		g.row(cells...)
	}
	if err := g.flush(); err != nil {
		return err
	}
	fmt.Fprintf(a.stderr, "%d of %s values, %s in all\n", len(t.Rows), count(t.Values), figure(t.Total))
	return nil
}
