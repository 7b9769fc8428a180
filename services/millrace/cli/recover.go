package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/eventdb"
	"github.com/millrace/millrace/libs/svc"
	"github.com/millrace/millrace/services/ingester"
	"github.com/millrace/millrace/services/millrace/recovery"
	"github.com/millrace/millrace/services/millrace/up"
)

// recoverer is what `millrace recover` was told.
type recoverer struct {
	*app
	dir      string
	engine   string
	conn     bus.Config
	db       eventdb.Config
	plan     bus.Plan
	window   time.Duration
	quiet    time.Duration
	apply    bool
	logLevel string
}

func (a *app) recovery() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "recover",
		Short: "Mend an installation after lost or restored data",
		Long: `Look whether NATS and ClickHouse still agree: after a disk was lost, a backup
was restored, a stream or a table is gone. Without --apply it only says what it
found and what it would do. Stop all services first.

With --apply it brings back what can be brought back, moves the streams past
every number that was ever given, and says what is gone for good. It may be
ended at any time and run again. Afterwards start the services, and run
"millrace verify".

It works on the directory of a "millrace up" that is stopped (--dir), or on
servers of your own (--nats-url and --clickhouse-url, with the rights of an
administrator of NATS and of the indexer in ClickHouse).

Exit codes: 0 nothing is wrong, or it was done; 1 something is wrong.`,
		Example: `  millrace recover
  millrace recover --apply
  millrace recover --dir /var/lib/millrace --output json
  millrace recover --nats-url nats://nats:4222 --clickhouse-url clickhouse://millrace_writer:secret@clickhouse:9000/millrace`,
		Args: noArguments,
	}
	r := recoverer{app: a}
	s := newSettings(cmd, true, r.conn.RegisterFlags, r.db.RegisterFlags, func(fs *flag.FlagSet) {
		ingester.RegisterPlan(fs, &r.plan)
		fs.StringVar(&r.dir, "dir", up.DefaultDir, "`directory` of a `millrace up` that is stopped; also where the summary is written")
		fs.StringVar(&r.engine, "clickhouse", "", "`path` of a clickhouse binary or libchdb.so, with --dir (default: found, see `make engine`)")
		fs.DurationVar(&r.window, "dedup-window", time.Hour, "`time` for which repeated message ids stay known: as long as that of the enrichers")
		fs.DurationVar(&r.quiet, "quiet", 45*time.Second, "`time` after the ledger's last word in which an insert may still be under way, on servers of your own")
		fs.BoolVar(&r.apply, "apply", false, "do it")
		fs.StringVar(&r.logLevel, "log-level", "error", "least `level` that is logged: debug, info, warn or error")
	})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if done, err := a.fill(s); done || err != nil {
			return err
		}
		given := map[string]bool{}
		s.Visit(func(f *flag.Flag) { given[f.Name] = true })
		remote := given["nats-url"] || given["clickhouse-url"]
		if remote && cmd.Flags().Changed("dir") {
			return usageError{errors.New("--dir is for a `millrace up`, --nats-url and --clickhouse-url are for servers of your own: give one of both")}
		}
		if given["nats-url"] != given["clickhouse-url"] {
			return usageError{errors.New("--nats-url and --clickhouse-url belong together: rows and streams are compared")}
		}
		log, err := svc.NewLogger(a.stderr, "text", r.logLevel)
		if err != nil {
			return usageError{fmt.Errorf("--log-level: %w", err)}
		}
		ctx, stop := svc.Signals(cmd.Context(), log)
		defer stop()
		cfg := recovery.Config{
			Plan: r.plan, Window: r.window, Log: log,
			Progress: func(text string) { fmt.Fprintln(a.stderr, "  "+text) },
		}
		if remote {
			cfg.Bus, cfg.DB, cfg.Quiet = r.conn, r.db, r.quiet
			return r.run(ctx, cfg)
		}
		return up.Serve(ctx, up.Config{
			Dir: r.dir, ClickHouse: r.engine, Shards: r.plan.Shards, Sinks: r.plan.Sinks, Out: a.stderr, Log: log,
		}, func(ctx context.Context, servers up.Servers) error {
			cfg.Bus, cfg.DB, cfg.Tables, cfg.Plan = servers.Bus, servers.DB, servers.Tables, servers.Plan
			cfg.Bus.Prefix = r.conn.Prefix
			cfg.Alone, cfg.Dir = true, r.dir
			return r.run(ctx, cfg)
		})
	}
	return cmd
}

// run looks or applies, and prints what came of it.
func (r *recoverer) run(ctx context.Context, cfg recovery.Config) error {
	v, err := recovery.New(cfg)
	if err != nil {
		return usageError{err}
	}
	var rep recovery.Report
	if r.apply {
		rep, err = v.Apply(ctx)
	} else {
		rep, err = v.Look(ctx)
	}
	if err != nil {
		return err
	}
	if r.output == "json" {
		err = r.printJSON(rep)
	} else {
		err = r.print(&rep)
	}
	if err == nil && !rep.Healthy() && !rep.Applied {
		err = errFailed
	}
	return err
}

// print says it in a table and in words.
func (r *recoverer) print(rep *recovery.Report) error {
	g := newGrid(r.stdout, "SHARD", "RAW", "ENRICHED", "PROVEN", "ROWS", "TO FRAME", "BY LEDGER", "DEAD", "BY LEDGER", "OK")
	for i := range rep.Shards {
		s := &rep.Shards[i]
		g.row(fmt.Sprint(s.Shard), reach(s.Raw), reach(s.Enriched), count(s.Proven), count(s.Rows), count(s.RowsTo), count(s.Totals.Rows),
			count(s.Dead), count(s.Totals.Dead), yes(len(s.Problems) == 0))
	}
	if err := g.flush(); err != nil {
		return err
	}
	w := r.stdout
	fmt.Fprintf(w, "NATS door: %s messages wait\n\n", count(rep.In.Waiting))
	if rep.Healthy() {
		fmt.Fprintln(w, "Everything agrees. There is nothing to recover, and nothing was changed.")
		return nil
	}
	fmt.Fprintln(w, "Found:")
	for _, p := range rep.Problems {
		fmt.Fprintf(w, "  %s\n", p)
	}
	for i := range rep.Shards {
		for _, p := range rep.Shards[i].Problems {
			fmt.Fprintf(w, "  shard %d: %s\n", rep.Shards[i].Shard, p)
		}
	}
	fmt.Fprintln(w)
	r.printDone(w, rep)
	r.printLost(w, rep)
	switch {
	case rep.Applied:
		fmt.Fprintf(w, "Done. This is kept in %s\nNow start the services, then run `millrace verify`.\n", rep.File)
	case rep.Unfinished:
		fmt.Fprintln(w, "A recovery was begun and not finished. Nothing opens until it is: run `millrace recover --apply`, which goes on where it ended.")
	case rep.Do == recovery.DoNothing:
		fmt.Fprintln(w, "A recovery cannot mend this. docs/recovery.md says what can be done.")
	default:
		fmt.Fprintln(w, "Nothing was changed. `millrace recover --apply` does it; stop all services first, and copy the data if you can.")
	}
	return nil
}

func reach(e recovery.Extent) string {
	switch {
	case e.Missing:
		return "missing"
	case e.Messages == 0:
		return fmt.Sprintf("empty, to %d", e.Last)
	}
	return fmt.Sprintf("%d-%d", e.First, e.Last)
}

// printDone says what is to be done, or was.
func (r *recoverer) printDone(w io.Writer, rep *recovery.Report) {
	if rep.Do == recovery.DoNothing {
		return
	}
	if rep.Applied {
		fmt.Fprintln(w, "What was done:")
	} else {
		fmt.Fprintln(w, "What it will do:")
	}
	line := func(shard int, n uint64, text string) {
		if n > 0 {
			fmt.Fprintf(w, "  shard %d: %s %s\n", shard, count(n), text)
		}
	}
	for i := range rep.Shards {
		s := &rep.Shards[i]
		insert, letters := s.Insert, s.Letters
		if rep.Do == recovery.DoMend {
			insert, letters = s.InsertProven, s.LettersProven
		}
		line(s.Shard, insert, "rows are inserted that ENRICHED holds and ClickHouse lacks")
		line(s.Shard, letters, "dead letters are brought to ClickHouse")
		line(s.Shard, s.Renumber, "rows are inserted under a free number, because their own is taken")
		line(s.Shard, s.Again, "events are appended to RAW once more, because they have neither row nor dead letter")
		line(s.Shard, s.Found, "events have a row already and are left out")
		if rep.Do == recovery.DoMove {
			line(s.Shard, s.Begins, "is the first number of new frames, or a little after it")
		}
	}
	switch rep.Do {
	case recovery.DoMove:
		fmt.Fprintf(w, "  all shards begin a new incarnation, %d after %d\n\n", rep.Next, rep.Incarnation)
	default:
		fmt.Fprintf(w, "  the streams stay as they are\n\n")
	}
}

// printLost names what is gone.
func (r *recoverer) printLost(w io.Writer, rep *recovery.Report) {
	events, frames := rep.Lost()
	if events == 0 && frames == 0 {
		fmt.Fprint(w, "As far as the logs tell, nothing is lost. Events that were accepted and left no trace anywhere cannot be seen from here.\n\n")
		return
	}
	if events > 0 {
		fmt.Fprintln(w, "GONE FOR GOOD:")
		for i := range rep.Shards {
			s := &rep.Shards[i]
			if s.Lost > 0 {
				fmt.Fprintf(w, "  shard %d: %s events (%s rows, %s dead letters)%s\n", s.Shard, count(s.Lost), count(s.LostRows), count(s.LostLetters), among(", of frames among ", s.LostRanges))
			}
		}
	}
	if frames > 0 {
		fmt.Fprintln(w, "NOT KNOWN: frames that left no trace. They held repeats only, or their events are gone; the senders' records may tell.")
		for i := range rep.Shards {
			s := &rep.Shards[i]
			if s.Unknown > 0 {
				fmt.Fprintf(w, "  shard %d: %s frames%s\n", s.Shard, count(s.Unknown), among(": ", s.UnknownRanges))
			}
		}
	}
	fmt.Fprintln(w, "The ledger keeps these numbers, and `millrace verify` repeats them.")
	fmt.Fprintln(w)
}

func among(before string, ranges [][2]uint64) string {
	var parts []string
	for _, x := range ranges {
		parts = append(parts, fmt.Sprintf("%d-%d", x[0], x[1]))
	}
	if len(parts) == 0 {
		return ""
	}
	return before + strings.Join(parts, ", ")
}
