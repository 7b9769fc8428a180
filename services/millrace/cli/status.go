package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/services/query"
)

const pathStatus = "/v1/status"

func (a *app) status() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how far everything is: counts, lag, fill",
		Long: `Show, for every shard, how many events were accepted, enriched and indexed, how
many were repeats or became dead letters, how far ClickHouse is behind, and how
full the streams are, and whether it gets on: ok, lagging, stuck or shut, and
why. It exits with 1 when a shard is stuck or shut, when NATS or ClickHouse does
not answer, or when a readiness check fails.`,
		Example: "  millrace status\n  millrace status --output json",
		Args:    noArguments,
	}
	var t target
	s := newSettings(cmd, false, t.registerQuery)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if done, err := a.fill(s); done || err != nil {
			return err
		}
		c, err := t.counter(0, nil)
		if err != nil {
			return err
		}
		defer c.Close()
		var st query.Status
		text, err := c.Get(cmd.Context(), pathStatus, nil, &st)
		if err != nil {
			return err
		}
		troubles := t.troubles(cmd.Context())
		if a.output == "json" {
			if err := a.printJSON(text); err != nil {
				return err
			}
		} else if err := a.printStatus(st); err != nil {
			return err
		}
		for _, line := range troubles {
			fmt.Fprintln(a.stderr, line)
		}
		for _, line := range conditions(st) {
			fmt.Fprintln(a.stderr, line)
			troubles = append(troubles, line)
		}
		if len(troubles) > 0 {
			return errFailed
		}
		return nil
	}
	return cmd
}

func (a *app) printStatus(st query.Status) error {
	g := newGrid(a.stdout, "SHARD", "ACCEPTED", "ENRICHED", "INDEXED", "DEAD", "REPEATS", "LAG", "LAG TIME", "DEDUP", "RAW", "ENRICHED", "STATE")
	var sum query.ShardStatus
	for _, s := range st.Shards {
		sum.Accepted += s.Accepted
		sum.Enriched += s.Enriched
		sum.Indexed += s.Indexed
		sum.Dead += s.Dead
		sum.Repeats += s.Repeats
		sum.Lag += s.Lag
		sum.LagTime = max(sum.LagTime, s.LagTime)
		row(g, fmt.Sprint(s.Shard), s, window(s.DedupWindow), percent(s.RawFill), percent(s.EnrichedFill), s.State)
	}
	row(g, "all", sum, "", "", "", "")
	if err := g.flush(); err != nil {
		return err
	}
	fmt.Fprintln(a.stdout)
	g = newGrid(a.stdout, "STREAM", "MESSAGES", "BYTES", "FILL")
	for _, s := range []struct {
		name string
		query.StreamStatus
	}{{"in", st.Streams.In}, {"dead", st.Streams.Dead}, {"ledger", st.Streams.Ledger}} {
		g.row(s.name, count(s.Messages), count(s.Bytes), percent(s.Fill))
	}
	return g.flush()
}

func row(g *grid, name string, s query.ShardStatus, window, raw, enriched, state string) {
	lag := count(s.Lag)
	if s.Estimated {
		lag = "~" + lag
	}
	g.row(name, count(s.Accepted), count(s.Enriched), count(s.Indexed), count(s.Dead), count(s.Repeats), lag,
		fmt.Sprintf("%.1fs", s.LagTime), window, raw, enriched, state)
}

// conditions names what does not get on, a line each.
func conditions(st query.Status) (lines []string) {
	say := func(what, state, why, reason string, since time.Time) {
		line := fmt.Sprintf("%s is %s: %s", what, state, why)
		if reason != "" {
			line += fmt.Sprintf(" (%s since %s)", reason, since.UTC().Format(time.RFC3339))
		}
		lines = append(lines, line)
	}
	for _, part := range []struct {
		name string
		query.Condition
	}{{"NATS", st.NATS}, {"ClickHouse", st.ClickHouse}, {"the NATS door", st.Door}} {
		if part.State == query.StateStuck {
			say(part.name, part.State, part.Why, part.Reason, part.Since)
		}
	}
	for _, sh := range st.Shards {
		name := fmt.Sprintf("shard %d", sh.Shard)
		switch {
		case sh.State == query.StateStuck, sh.State == query.StateShut:
			say(name, sh.State, sh.Why, sh.Reason, sh.Since)
		case !sh.Open: // a service that does not know states yet
			say(name, query.StateShut, sh.Note, "", time.Time{})
		}
	}
	return lines
}

func percent(p *float64) string {
	if p == nil {
		return "-"
	}
	return fmt.Sprintf("%.1f%%", *p)
}

func window(seconds *float64) string {
	if seconds == nil {
		return "-"
	}
	return time.Duration(*seconds * float64(time.Second)).Round(time.Second).String()
}

// troubles asks the admin port of the `millrace up` on this machine, if there
// is one and no other installation was named, what is not in order.
func (t *target) troubles(ctx context.Context) []string {
	running := t.running()
	if running.Admin == "" || t.query != "" && t.query != running.Query {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, running.Admin+"/readyz", nil)
	if err != nil {
		return nil
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil // the query service has answered: this port may be closed on purpose
	}
	defer func() { _ = res.Body.Close() }() // it was only read
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return nil
	}
	var lines []string
	for line := range strings.Lines(string(body)) {
		if what, ok := strings.CutPrefix(strings.TrimSpace(line), "[-]"); ok {
			lines = append(lines, what)
		}
	}
	return lines
}
