package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/libs/svc"
)

// host is the part of the process that commands use; tests have their own.
type host struct {
	stdin   io.Reader
	stdout  io.Writer
	stderr  io.Writer
	env     func(string) (string, bool)
	environ []string
}

// app is what all commands share.
type app struct {
	host
	output string // table or json
}

// Main runs the command line of this process and returns its exit code.
func Main() int {
	a := &app{host: host{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, env: os.LookupEnv, environ: os.Environ()}}
	return a.run(context.Background(), os.Args[1:])
}

func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	err := root.ExecuteContext(ctx)
	if err != nil && !errors.Is(err, errFailed) {
		fmt.Fprintf(a.stderr, "millrace: %v\n", err)
	}
	return exitCode(err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "millrace",
		Short: "A stream of what people do, turned into answers",
		Long: `Millrace takes the stream of what people do in a product and turns it into
answers: SQL in ClickHouse within a second, every event exactly once.

Start with "millrace up": it runs everything on this machine.

Every flag can also be set by a variable: --query-url is MILLRACE_QUERY_URL.
Exit codes: 0 done, 1 failed or found wrong, 2 wrong usage, 3 not reachable,
4 not finished in time.`,
		Version:       svc.Version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if a.output != "table" && a.output != "json" {
				return usageError{fmt.Errorf("--output %q: want table or json", a.output)}
			}
			return nil
		},
	}
	root.PersistentFlags().StringVarP(&a.output, "output", "o", "table", "how results are printed: `table` or json")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; `%s --help` lists what there is", err, cmd.CommandPath())}
	})
	root.AddCommand(a.up(), a.send(), a.ask(), a.user(), a.importLog(), a.query(), a.tail(), a.verify(), a.status(), a.trend(), a.funnel(), a.retention(), a.top(), a.anyReport(), a.tools(), a.source(), a.migrate(), a.recovery(), a.version())
	return root
}

// exactly and atMost word their errors with what to do.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return usageError{fmt.Errorf("%s takes %s; `%s --help` shows how", cmd.CommandPath(), what, cmd.CommandPath())}
		}
		return nil
	}
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("%s takes no arguments, only flags; got %q", cmd.CommandPath(), args[0])}
	}
	return nil
}
