package svc

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// LoadOptions says where Load may look.
type LoadOptions struct {
	// Args are the command's arguments without its name.
	Args []string
	// Env looks one variable up, as os.LookupEnv does; nil: no environment. A
	// variable that is set to the empty text counts as not set, so that
	// NAME=${NAME:-} in a compose file is no setting.
	Env func(name string) (string, bool)
	// EnvNames are the names of all variables that are set (see EnvNames).
	// Those that begin with the prefix and belong to no flag are an error;
	// empty: not checked.
	EnvNames []string
	// EnvPrefix begins the variable of every flag; "" is MILLRACE.
	EnvPrefix string
	// Aliases are further variables of a flag, by flag name, asked after the
	// flag's own; nil is EcosystemAliases.
	Aliases map[string][]string
	// KnownEnv are variables with the prefix that belong to others; nil is
	// ForeignEnv.
	KnownEnv []string
}

func (o LoadOptions) withDefaults() LoadOptions {
	if o.Env == nil {
		o.Env = func(string) (string, bool) { return "", false }
	}
	if o.EnvPrefix == "" {
		o.EnvPrefix = "MILLRACE"
	}
	if o.Aliases == nil {
		o.Aliases = EcosystemAliases()
	}
	if o.KnownEnv == nil {
		o.KnownEnv = ForeignEnv()
	}
	return o
}

const (
	flagConfig      = "config"
	flagPrintConfig = "print-config"
)

// Load fills the flags of fs: command line first, then environment, then the
// file named by --config, then the default each flag was registered with. It
// adds --config and --print-config to fs. Arguments that are no flags stay in
// fs.Args.
//
// It returns flag.ErrHelp for -help, ErrPrintConfig for --print-config, and
// otherwise an error that names the setting, where it was found, and for an
// unknown one (ErrUnknownKey) the nearest that exists. It prints nothing.
func Load(fs *flag.FlagSet, opts LoadOptions) error {
	opts = opts.withDefaults()
	registerLoadFlags(fs)

	if err := parseArgs(fs, opts.Args); err != nil {
		return err
	}
	set := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { set[f.Name] = true })

	if err := fromEnvironment(fs, opts, set); err != nil {
		return err
	}
	if path := fs.Lookup(flagConfig).Value.String(); path != "" {
		if err := fromFile(fs, path, set); err != nil {
			return err
		}
	}
	if fs.Lookup(flagPrintConfig).Value.String() == "true" {
		return ErrPrintConfig
	}
	return nil
}

func registerLoadFlags(fs *flag.FlagSet) {
	if fs.Lookup(flagConfig) == nil {
		fs.String(flagConfig, "", "`file` with settings in YAML: one \"flag-name: value\" a line")
	}
	if fs.Lookup(flagPrintConfig) == nil {
		fs.Bool(flagPrintConfig, false, "print the settings in effect, secrets left out, and exit")
	}
}

// parseArgs is fs.Parse without its habit of printing, and with the nearest
// known flag in the error of an unknown one.
func parseArgs(fs *flag.FlagSet, args []string) error {
	output, usage := fs.Output(), fs.Usage
	defer func() {
		fs.SetOutput(output)
		fs.Usage = usage
	}()
	fs.Init(fs.Name(), flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}

	err := fs.Parse(args)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return err
	}
	// Package flag has no error type for this, only its text.
	if name, unknown := strings.CutPrefix(err.Error(), "flag provided but not defined: -"); unknown {
		return fmt.Errorf("%w: flag --%s%s", ErrUnknownKey, name, nearest(name, flagNames(fs), "--"))
	}
	return err
}

func flagNames(fs *flag.FlagSet) []string {
	var names []string
	fs.VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
	return names
}

// nearest words a hint that names the candidate with the fewest edits, or
// where the whole list is found when none is near.
func nearest(name string, candidates []string, prefix string) string {
	best, bestDistance := "", len(name)/2+1
	for _, c := range slices.Sorted(slices.Values(candidates)) {
		if d := editDistance(name, c); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	if best == "" {
		return "; -help lists all"
	}
	return fmt.Sprintf("; did you mean %s%s?", prefix, best)
}

// editDistance is Levenshtein's: inserted, removed and changed bytes.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

// sortedKeys makes every error of Load the same in every run.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
