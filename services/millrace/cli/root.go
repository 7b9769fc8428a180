package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

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
	completion(root) // which writes to what is set now
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
		Args:          noCommand,
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

// completion gives cobra's own command what all others have: an example, and wrong usage that ends with 2.
func completion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() != "completion" {
			continue
		}
		cmd.Example = "  source <(millrace completion bash)\n  millrace completion zsh > \"${fpath[1]}/_millrace\""
		cmd.Args, cmd.RunE = noCommand, func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		for _, shell := range cmd.Commands() {
			shell.Args = noArguments
		}
	}
}

// noCommand refuses the name of a command that there is not.
func noCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2
	meant := ""
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		meant = " Is it " + strings.Join(near, ", ") + "?"
	}
	return usageError{fmt.Errorf("there is no command `%s %s`.%s `%s --help` lists what there is", cmd.CommandPath(), args[0], meant, cmd.CommandPath())}
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
