package cli

import (
	"errors"
	"flag"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/millrace/millrace/libs/svc"
)

// settings are a command's flags as the standard library has them, so that
// they are declared once, by the packages that use them, and filled like those
// of every service.
type settings struct {
	*flag.FlagSet
	// strict: the command takes a file of settings, and a variable
	// MILLRACE_... that nobody knows is an error.
	strict bool
}

func newSettings(cmd *cobra.Command, strict bool, register ...func(*flag.FlagSet)) *settings {
	s := &settings{FlagSet: flag.NewFlagSet(cmd.Name(), flag.ContinueOnError), strict: strict}
	for _, r := range register {
		r(s.FlagSet)
	}
	if strict {
		s.String("config", "", "`file` with settings in YAML: one \"flag-name: value\" a line")
		s.Bool("print-config", false, "print the settings in effect, secrets left out, and exit")
	}
	s.VisitAll(func(f *flag.Flag) {
		p := &pflag.Flag{Name: f.Name, Usage: f.Usage, DefValue: f.DefValue, Value: bridge{s.FlagSet, f}}
		if isSwitch(f) {
			p.NoOptDefVal = "true"
		}
		cmd.Flags().AddFlag(p)
	})
	return s
}

// bridge lets pflag set a flag of the standard library. It goes through the
// set, which remembers that the command line had it.
type bridge struct {
	set  *flag.FlagSet
	flag *flag.Flag
}

func (b bridge) Set(value string) error { return b.set.Set(b.flag.Name, value) }
func (b bridge) String() string         { return b.flag.Value.String() }

func (b bridge) Type() string {
	if isSwitch(b.flag) {
		return "bool"
	}
	return "value"
}

func isSwitch(f *flag.Flag) bool {
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// fill reads what the command line has not set from the environment and, for a
// strict command, the file. done says that the settings were printed instead.
func (a *app) fill(s *settings) (done bool, err error) {
	opts := svc.LoadOptions{Env: a.env}
	if s.strict {
		opts.EnvNames = svc.EnvNames(a.environ)
		opts.KnownEnv = append(svc.ForeignEnv(), a.knownVariables()...)
	} else {
		opts.Env = func(name string) (string, bool) {
			if name == "MILLRACE_CONFIG" {
				return "", false // it names a file for services
			}
			return a.env(name)
		}
	}
	err = svc.Load(s.FlagSet, opts)
	if errors.Is(err, svc.ErrPrintConfig) {
		return true, svc.WriteConfig(a.stdout, s.FlagSet)
	}
	if err != nil {
		return false, usageError{err}
	}
	return false, nil
}

// knownVariables are those of all commands: whoever sets MILLRACE_QUERY_URL
// for `millrace query` can still type `millrace up`.
func (a *app) knownVariables() []string {
	var names []string
	other := &app{host: host{stdout: io.Discard, stderr: io.Discard, env: func(string) (string, bool) { return "", false }}}
	for _, cmd := range other.root().Commands() {
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, variable(f.Name)) })
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// variable is the environment's name of a flag.
func variable(flagName string) string {
	return "MILLRACE_" + strings.ToUpper(strings.ReplaceAll(flagName, "-", "_"))
}
