package cli

import (
	"flag"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/services/query/reports"
)

func (a *app) retention() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "retention",
		Short: "Show how many people come back",
		Long: `Show, for the people who started in each interval of a period, which part of them
came back 0, 1, 2, ... intervals later. Any event is a start and a return, unless
--start or --return name one.`,
		Example: `  millrace retention --last 8w --interval week
  millrace retention --start 'Product Viewed' --return 'Order Completed' --last 24h --interval hour
  millrace retention --last 14d --mode unbounded`,
		Args: noArguments,
	}
	var f reportFlags
	var mode, periods string
	var start, back []string
	s := f.register(cmd, func(fs *flag.FlagSet) {
		fs.StringVar(&mode, "mode", "exact", "`how` people come back: exact, in that very interval; unbounded, in that or any later one")
		fs.StringVar(&periods, "periods", "", "how many intervals are looked at, a `number` (default 12)")
	})
	cmd.Flags().StringArrayVar(&start, "start", nil, "`name` of an event with which somebody starts; may be repeated")
	cmd.Flags().StringArrayVar(&back, "return", nil, "`name` of an event with which somebody returns; may be repeated")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if done, err := a.fill(s); done || err != nil {
			return err
		}
		v := f.values()
		v["start"], v["return"] = start, back
		v.Set("mode", mode)
		setIf(v, "periods", periods)
		r, prev, ans, printed, err := report[reports.Retention](cmd.Context(), a, &f, "retention", v)
		if printed || err != nil {
			return err
		}
		a.note(ans)
		if err := a.printRetention(r, ans); err != nil || prev == nil {
			return err
		}
		fmt.Fprintln(a.stdout, "\nthe period before:")
		return a.printRetention(*prev, ans)
	}
	return cmd
}

func (a *app) printRetention(r reports.Retention, ans reports.Answer) error {
	header := []string{strings.ToUpper(r.Interval), "PEOPLE"}
	if len(r.Cohorts) > 0 {
		for k := range r.Cohorts[0].Shares {
			header = append(header, fmt.Sprint(k))
		}
	}
	g := newGrid(a.stdout, header...)
	zone := zoneOf(ans)
	for _, c := range r.Cohorts {
		cells := []string{c.Start.In(zone).Format(bucketForm(r.Interval)), count(c.Size)}
		for _, share := range c.Shares {
			if c.Size == 0 {
				cells = append(cells, "-")
				continue
			}
			cells = append(cells, percentage(share))
		}
		g.row(cells...)
	}
	return g.flush()
}
