package cli

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/millrace/millrace/libs/event"
)

// The README is the reference of the command, so it must name all there is.
func TestReadmeNamesCommandsFlagsAndLimits(t *testing.T) {
	text, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	readme := string(text)
	says := func(what string) {
		t.Helper()
		if !strings.Contains(readme, what) {
			t.Errorf("README.md does not say %s", what)
		}
	}
	a := &app{host: host{env: func(string) (string, bool) { return "", false }}}
	for _, cmd := range a.root().Commands() {
		says("`millrace " + cmd.Name() + "`")
		if cmd.Name() == "up" {
			cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
				if f.Name != "help" {
					says("`--" + f.Name)
				}
			})
		}
	}
	says("`millrace completion`")

	l := event.DefaultLimits()
	says(fmt.Sprintf("| one event | %d KiB |", l.MaxEvent>>10))
	says(fmt.Sprintf("| one request, also after decompression | %d MiB |", l.MaxRequest>>20))
	says(fmt.Sprintf("| events of a request | %s |", count(l.MaxEvents)))
	says(fmt.Sprintf("| nesting | %d levels |", l.MaxDepth))
	says(fmt.Sprintf("| keys of an event | %s |", count(l.MaxKeys)))
	says(fmt.Sprintf("| one key | %d bytes |", l.MaxKey))
	says(fmt.Sprintf("| ids; the event's name | %d bytes |", l.MaxID))
	if l.MaxID != l.MaxName {
		t.Error("README.md gives ids and names one limit")
	}
}

func TestEveryCommandExplainsItself(t *testing.T) {
	var out bytes.Buffer
	a := &app{host: host{stdout: &out, stderr: &out, env: func(string) (string, bool) { return "", false }}}
	for _, cmd := range a.root().Commands() {
		if cmd.Example == "" || cmd.Short == "" {
			t.Errorf("%s has no example or no short text", cmd.Name())
		}
		out.Reset()
		if code := a.run(t.Context(), []string{cmd.Name(), "--help"}); code != exitOK {
			t.Errorf("%s --help ends with %d", cmd.Name(), code)
		}
		if !strings.Contains(out.String(), "Examples:") || !strings.Contains(out.String(), "millrace "+cmd.Name()) {
			t.Errorf("%s --help:\n%s", cmd.Name(), out.String())
		}
	}
}
