package cli

import (
	"flag"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/services/query/reports"
)

func (a *app) funnel() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "funnel STEP STEP ...",
		Short: "Show how many people come how far through steps",
		Long: `Show how many people did the first step, how many of them did the second one
after it, and so on, all within a window of time that begins with their first
step. Steps are names of events.`,
		Example: `  millrace funnel 'Product Viewed' 'Product Added' 'Order Completed'
  millrace funnel 'Product Viewed' 'Order Completed' --window 1h --by device_type
  millrace funnel 'Checkout Started' 'Order Completed' --dropped 1`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usageError{fmt.Errorf("%s takes two steps or more, each a name of an event", cmd.CommandPath())}
			}
			return nil
		},
	}
	var f reportFlags
	var window, by, limit, dropped, droppedLimit string
	s := f.register(cmd, func(fs *flag.FlagSet) {
		fs.StringVar(&window, "window", "7d", "longest `time` from the first step to the last, such as 30m, 12h or 7d")
		fs.StringVar(&by, "by", "", "`dimension` to break down by, as it was at the first step")
		fs.StringVar(&limit, "limit", "", "how many values of --by are listed, a `number` (default 10)")
		fs.StringVar(&dropped, "dropped", "", "also list people who came as far as this step and no farther, a `number` from 1 on")
		fs.StringVar(&droppedLimit, "dropped-limit", "", "how many people of --dropped are listed, a `number` (default 10)")
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if done, err := a.fill(s); done || err != nil {
			return err
		}
		v := f.values()
		v["step"] = args
		v.Set("window", window)
		setIf(v, "by", by)
		setIf(v, "limit", limit)
		setIf(v, "dropped", dropped)
		setIf(v, "dropped_limit", droppedLimit)
		t, prev, ans, printed, err := report[reports.Funnel](cmd.Context(), a, &f, "funnel", v)
		if printed || err != nil {
			return err
		}
		a.note(ans)
		return a.printFunnel(t, prev)
	}
	return cmd
}

func (a *app) printFunnel(f reports.Funnel, prev *reports.Funnel) error {
	terminal := isTerminal(a.stdout)
	header := []string{"STEP", "USERS", "OF FIRST", "OF PREVIOUS", "LOST"}
	if prev != nil {
		header = append(header, "BEFORE")
	}
	g := newGrid(a.stdout, header...)
	for i, s := range f.Steps {
		cells := []string{fmt.Sprintf("%d %s", i+1, named(s.Event, false)), count(s.Users), percentage(s.OfFirst), percentage(s.OfPrevious), count(s.Lost)}
		if prev != nil {
			cells = append(cells, percentage(prev.Steps[i].OfFirst))
		}
		if terminal {
			cells = append(cells, padded(bar(s.OfFirst, 30), 30))
		}
		g.row(cells...)
	}
	if err := g.flush(); err != nil {
		return err
	}
	if len(f.Segments) > 0 {
		fmt.Fprintln(a.stdout)
		header = []string{"VALUE"}
		for i := range f.Steps {
			header = append(header, fmt.Sprintf("STEP %d", i+1))
		}
		g = newGrid(a.stdout, append(header, "OF FIRST")...)
		for _, s := range f.Segments {
			cells := []string{named(s.Value, s.Other)}
			for _, step := range s.Steps {
				cells = append(cells, count(step.Users))
			}
			g.row(append(cells, percentage(s.Steps[len(s.Steps)-1].OfFirst))...)
		}
		if err := g.flush(); err != nil {
			return err
		}
	}
	if len(f.Dropped) > 0 {
		fmt.Fprintln(a.stdout)
		g = newGrid(a.stdout, "LOST USER", "LAST SEEN IN THE FUNNEL")
		for _, d := range f.Dropped {
			g.row(named(d.User, false), d.Last.Format(time.RFC3339))
		}
		return g.flush()
	}
	return nil
}
