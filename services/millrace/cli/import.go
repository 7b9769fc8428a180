package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/millrace/millrace/services/millrace/client"
	"github.com/millrace/millrace/services/millrace/importer"
	"github.com/millrace/millrace/services/query"
)

func (a *app) importLog() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import --format combined|ndjson FILE...",
		Short: "Bring files of events or an access log in",
		Long: `Bring files in, plain or .gz; - is standard input. Format combined is a web
server's access log (Apache, nginx): every request becomes an event "HTTP
Request". Format ndjson is one event a line.

Times are kept. Each line gets an id from what it says, so that importing the
same lines again within the dedup window adds nothing; equal lines of one import
stay separate events. Lines that cannot be read become dead letters.

It ends with 0 when every line is known to be a row, a repeat or a dead letter.`,
		Example: `  millrace import --format combined /var/log/nginx/access.log*
  zcat old.log.gz | millrace import --format combined -
  millrace import --format ndjson --source shop events.ndjson.gz`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("millrace import takes the names of files; - is standard input")}
			}
			return nil
		},
	}
	var t target
	var format string
	var inFlight int
	var wait time.Duration
	s := newSettings(cmd, false, t.registerDoor, t.registerQuery, func(fs *flag.FlagSet) {
		fs.StringVar(&format, "format", "", "what a line is: `combined` (access log) or ndjson")
		fs.IntVar(&inFlight, "in-flight", 4, "`requests` that are under way at a time")
		fs.DurationVar(&wait, "wait", 5*time.Minute, "how long to wait until every line is a row (0: not at all)")
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if done, err := a.fill(s); done || err != nil {
			return err
		}
		if format == "" {
			return usageError{errors.New("--format is missing: combined for an access log, ndjson for one event a line")}
		}
		job := importJob{app: a, target: &t, wait: wait, cfg: importer.Config{
			Format: importer.Format(format), Files: args, Stdin: a.stdin, InFlight: inFlight,
		}}
		return job.run(cmd.Context())
	}
	return cmd
}

// importJob is one import, from the first line to the last proof.
type importJob struct {
	*app
	target *target
	cfg    importer.Config
	wait   time.Duration
}

// imported is the result: what was sent, and what became of it.
type imported struct {
	importer.Summary
	// Outcome is absent when nobody was asked to wait for it.
	Outcome *outcome `json:"outcome,omitempty"`
	Seconds float64  `json:"seconds"`
}

// outcome counts what the installation made of events during the import.
type outcome struct {
	Rows        uint64 `json:"rows"`
	Repeats     uint64 `json:"repeats"`
	DeadLetters uint64 `json:"dead_letters"`
	// More events than the import's own came in meanwhile: somebody else's, or
	// requests that had to be repeated. They are in these counts.
	More uint64 `json:"more,omitempty"`
}

func (j *importJob) run(ctx context.Context) error {
	began := time.Now()
	door, err := j.target.door(j.waiting("the door"))
	if err != nil {
		return err
	}
	defer door.Close()
	j.cfg.Door = door
	if err := j.cfg.Validate(); err != nil {
		return usageError{err}
	}
	total, err := importer.TotalSize(j.cfg.Files)
	if err != nil {
		return err
	}
	var counter *client.Client
	var before query.Status
	if j.wait > 0 {
		if counter, err = j.target.counter(min(j.wait, j.target.patience), j.waiting("the query service")); err != nil {
			return err
		}
		defer counter.Close()
		// Asked before the first line is sent: who cannot be told the outcome
		// should know it now.
		if _, err := counter.Get(ctx, pathStatus, nil, &before); err != nil {
			return fmt.Errorf("the query service has to say what became of the lines (--wait 0 does without): %w", err)
		}
	}
	finished := j.progress(total)
	sum, err := importer.Run(ctx, j.cfg)
	finished()
	result := imported{Summary: sum}
	if err == nil && counter != nil {
		result.Outcome, err = outcomeOf(ctx, counter, sum, before, j.wait)
	}
	result.Seconds = time.Since(began).Seconds()
	if printErr := j.print(result); printErr != nil {
		return errors.Join(err, printErr)
	}
	if err != nil {
		return fmt.Errorf("%w; importing the same files again goes on from here", err)
	}
	if sum.Unsendable > 0 {
		return errFailed
	}
	return nil
}

// outcomeOf waits until every acknowledged line is proven and counts what they
// became.
func outcomeOf(ctx context.Context, c *client.Client, sum importer.Summary, before query.Status, wait time.Duration) (*outcome, error) {
	if err := c.WaitFor(ctx, sum.Receipt, wait); err != nil {
		return nil, err
	}
	var after query.Status
	if _, err := c.Get(ctx, pathStatus, nil, &after); err != nil {
		return nil, err
	}
	var o outcome
	var accepted uint64
	for i, s := range after.Shards {
		if i >= len(before.Shards) {
			break
		}
		b := before.Shards[i]
		accepted += s.Accepted - b.Accepted
		o.Rows += s.Indexed - b.Indexed
		o.Repeats += s.Repeats - b.Repeats
		o.DeadLetters += s.Dead - b.Dead
	}
	sent := uint64(sum.Accepted + sum.Rejected + sum.Declared)
	o.More = max(accepted, o.Rows+o.Repeats+o.DeadLetters, sent) - sent
	return &o, nil
}

// progress shows a bar on a terminal and returns what ends it.
func (j *importJob) progress(total int64) func() {
	if !isTerminal(j.stderr) {
		return func() {}
	}
	bar := progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(j.stderr), progressbar.OptionSetDescription("import"),
		progressbar.OptionShowBytes(true), progressbar.OptionShowCount(), progressbar.OptionSetWidth(30),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
	j.cfg.Moved = func(n int) { _ = bar.Add(n) } // a bar that cannot be drawn is no reason to stop
	return func() { _ = bar.Finish() }
}

func (j *importJob) print(r imported) error {
	if j.output == "json" {
		return j.printJSON(r)
	}
	p := newPairs(j.stdout)
	p.add("lines", count(r.Lines))
	p.add("  accepted", count(r.Accepted))
	p.add("  refused events", count(r.Rejected))
	p.add("  no events", count(r.Declared))
	if r.Unsendable > 0 {
		p.add("  not sent", count(r.Unsendable))
	}
	if o := r.Outcome; o != nil {
		p.add("became", "")
		p.add("  rows", count(o.Rows))
		p.add("  repeats", count(o.Repeats))
		p.add("  dead letters", count(o.DeadLetters))
		if o.More > 0 {
			p.add("  of these not ours", count(o.More)+" (other senders, or requests that had to be repeated)")
		}
	}
	p.add("took", fmt.Sprintf("%.1fs", r.Seconds))
	if err := p.flush(); err != nil {
		return err
	}
	for _, refusal := range r.Refusals {
		fmt.Fprintf(j.stdout, "  %s  %s\n", refusal.At, refusal.Reason)
	}
	if more := r.Rejected + r.Declared + r.Unsendable - len(r.Refusals); more > 0 {
		fmt.Fprintf(j.stdout, "  and %s more; they are in the table dead_letters\n", count(more))
	}
	return nil
}
