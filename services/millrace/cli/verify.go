package cli

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/services/millrace/client"
	"github.com/millrace/millrace/services/query"
)

func (a *app) verify() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Prove that every accepted event is there exactly once",
		Long: `Reconcile, shard by shard, what was accepted with what is in ClickHouse:
accepted = rows + dead letters + repeats. It waits for what is on its way, and
exits with 1 and names the frames when something is missing or doubled.`,
		Example: "  millrace verify\n  millrace verify --output json",
		Args:    noArguments,
	}
	var t target
	var wait time.Duration
	s := newSettings(cmd, false, t.registerQuery, func(fs *flag.FlagSet) {
		fs.DurationVar(&wait, "wait", 30*time.Second, "how long to wait for events that are on their way")
	})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if done, err := a.fill(s); done || err != nil {
			return err
		}
		c, err := t.counter(0, nil)
		if err != nil {
			return err
		}
		defer c.Close()
		shown := isTerminal(a.stderr)
		text, err := c.Verify(cmd.Context(), wait, func(line json.RawMessage) {
			var p query.Progress
			if shown && json.Unmarshal(line, &p) == nil {
				fmt.Fprintf(a.stderr, "\r\x1b[Kshard %d: %s %s of %s", p.Shard, p.Step, count(p.Done), count(p.Of))
			}
		})
		if shown {
			fmt.Fprint(a.stderr, "\r\x1b[K")
		}
		if err != nil {
			return err
		}
		var r query.Report
		if err := json.Unmarshal(text, &r); err != nil {
			return fmt.Errorf("read the report: %w", err)
		}
		if a.output == "json" {
			err = a.printJSON(text)
		} else {
			err = a.printReport(r)
		}
		switch {
		case err != nil:
			return err
		case !r.OK:
			return errFailed
		case r.Pending > 0:
			return errors.Join(client.ErrNotYet, fmt.Errorf("%d events are still on their way after %s; --wait waits longer", r.Pending, wait))
		}
		return nil
	}
	return cmd
}

func (a *app) printReport(r query.Report) error {
	g := newGrid(a.stdout, "SHARD", "ACCEPTED", "ROWS", "DEAD", "REPEATS", "PENDING", "OK")
	for _, s := range r.Shards {
		g.row(fmt.Sprint(s.Shard), count(s.Accepted), count(s.Rows), count(s.Dead), count(s.Repeats), count(s.PendingEvents), yes(s.OK))
	}
	g.row("all", count(r.Accepted), count(r.Rows), count(r.Dead), count(r.Repeats), count(r.Pending), yes(r.OK))
	if err := g.flush(); err != nil {
		return err
	}
	fmt.Fprintln(a.stdout)
	for _, f := range r.Findings {
		fmt.Fprintf(a.stdout, "shard %d, frames %d to %d: %s: expected %s, found %s: %s\n",
			f.Shard, f.First, f.Last, f.Kind, count(f.Expected), count(f.Found), f.Detail)
	}
	if r.Omitted > 0 {
		fmt.Fprintf(a.stdout, "and %s more\n", count(r.Omitted))
	}
	for _, x := range r.Recoveries {
		fmt.Fprintf(a.stdout, "shard %d was recovered on %s: %s events lost, %s appended once more", x.Shard, x.At.UTC().Format(time.DateTime), count(x.Lost), count(x.Again))
		if x.Unknown > 0 {
			fmt.Fprintf(a.stdout, ", nothing left of %s frames between %d and %d", count(x.Unknown), x.UnknownFirst, x.UnknownLast)
		}
		fmt.Fprintln(a.stdout)
	}
	switch {
	case r.OK && r.Lost > 0:
		fmt.Fprintf(a.stdout, "%s accepted = %s rows + %s dead letters + %s repeats + %s declared lost by `millrace recover`: nothing else is missing, nothing is doubled (%.1fs)\n",
			count(r.Accepted), count(r.Rows), count(r.Dead), count(r.Repeats), count(r.Lost), r.Seconds)
	case r.OK:
		fmt.Fprintf(a.stdout, "%s accepted = %s rows + %s dead letters + %s repeats: nothing is missing, nothing is doubled (%.1fs)\n",
			count(r.Accepted), count(r.Rows), count(r.Dead), count(r.Repeats), r.Seconds)
	}
	return nil
}

func yes(ok bool) string {
	if ok {
		return "yes"
	}
	return "NO"
}
