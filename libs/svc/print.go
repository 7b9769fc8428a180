package svc

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"strings"

	"gopkg.in/yaml.v3"
)

// WriteConfig writes the settings of fs as YAML that --config reads, sorted by
// name. Secrets, and passwords and tokens inside of URLs, are left out.
func WriteConfig(w io.Writer, fs *flag.FlagSet) error {
	root := &yaml.Node{Kind: yaml.MappingNode}
	var err error
	fs.VisitAll(func(f *flag.Flag) {
		if f.Name == flagConfig || f.Name == flagPrintConfig || f.Name == flagVersion || err != nil {
			return
		}
		key, value := &yaml.Node{}, &yaml.Node{}
		key.SetString(f.Name)
		if text, plain := configValue(f); plain {
			value.SetString(text)
		} else {
			err = value.Encode(f.Value.(flag.Getter).Get())
		}
		root.Content = append(root.Content, key, value)
	})
	if err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	if err := enc.Encode(root); err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	_, err = w.Write(out.Bytes())
	return err
}

// configValue returns the text of a flag and true, or false when the value is
// a number or a switch that YAML writes without quotes.
func configValue(f *flag.Flag) (string, bool) {
	if s, ok := f.Value.(interface{ IsSecret() bool }); ok && s.IsSecret() {
		return redacted, true
	}
	if g, ok := f.Value.(flag.Getter); ok {
		switch g.Get().(type) {
		case bool, int, int64, uint, uint64, float64:
			return "", false
		}
	}
	return redactURLs(f.Value.String()), true
}

// WriteHelp writes the reference of all flags of fs with their variables and
// defaults, sorted by name; --config and --print-config among them. The text
// is the same on every machine if the defaults are, so that a golden file can
// hold it.
func WriteHelp(w io.Writer, fs *flag.FlagSet, opts LoadOptions) error {
	opts = opts.withDefaults()
	registerLoadFlags(fs)
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: %s [flags]\n\n", fs.Name())
	fmt.Fprintf(&b, "The command line wins over the environment, the environment over --config FILE.\n")
	fmt.Fprintf(&b, "Each variable may instead be given as <NAME>_FILE, the path of a file that holds the value.\n\nFlags:\n")
	fs.VisitAll(func(f *flag.Flag) {
		kind, usage := flag.UnquoteUsage(f)
		line := "  --" + f.Name
		if kind != "" {
			line += " " + kind
		}
		fmt.Fprintf(&b, "%s\n", line)
		for part := range strings.Lines(usage) {
			fmt.Fprintf(&b, "        %s\n", strings.TrimRight(part, "\n"))
		}
		var notes []string
		if f.DefValue != "" && f.DefValue != "false" {
			notes = append(notes, "default "+f.DefValue)
		}
		if f.Name != flagPrintConfig && f.Name != flagVersion {
			names := append([]string{envName(opts.EnvPrefix, f.Name)}, opts.Aliases[f.Name]...)
			notes = append(notes, "env "+strings.Join(names, ", "))
		}
		if len(notes) > 0 {
			fmt.Fprintf(&b, "        (%s)\n", strings.Join(notes, "; "))
		}
	})
	_, err := io.WriteString(w, b.String())
	return err
}
