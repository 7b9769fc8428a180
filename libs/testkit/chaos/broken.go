package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"
)

// sabotage is a build with one thing of the protocol taken out. A lab that
// does not notice it would prove nothing.
type sabotage struct {
	name   string
	what   string
	faults string // those that it cannot survive
	edits  []edit
}

// edit replaces text in a file for one build, by `go build -overlay`; the tree
// stays as it is. Text that is not there any more is an error.
type edit struct{ file, old, new string }

// noAudit goes with each of them: counting again what was proven, whenever
// ClickHouse was started or an owner begins, would find what they lose and
// bring it back.
var noAudit = edit{"services/indexer/audit.go", "\tdefer t.close()\n\ttick :=", "\tdefer t.close()\n\t<-ctx.Done()\n\ttick :="}

var broken = []sabotage{
	{
		name: "token-only", what: "after doubt the block is sent again with its token, and that is the proof", faults: "clickhouse/orphan,clickhouse/rename",
		edits: []edit{
			{"services/indexer/commit.go", "if fresh && !c.stale() {", "if fresh || true {"},
			noAudit,
			{"services/indexer/commit.go", "\t\tif err == nil {\n\t\t\treturn true, nil\n", "\t\tif err == nil {\n\t\t\treturn true, c.bury(ctx, open)\n"},
		},
	},
	{
		name: "ack-before-proof", what: "a block counts as proven once it was sent, whatever became of it, poison excepted", faults: "kill/clickhouse,network/cut,clickhouse/parts",
		edits: []edit{
			noAudit,
			{
				"services/indexer/commit.go", "\t\tcase err == nil && done:\n",
				"\t\tcase err == nil && done, err != nil && !isContent(err) && !errors.Is(err, bus.ErrFenced):\n",
			},
		},
	},
	{
		name: "no-fence", what: "the ledger is written without compare-and-set, and not looked at again after a pause", faults: "twins/indexer,twins/insert",
		edits: []edit{
			noAudit,
			{"libs/bus/ledger.go", "jetstream.ExpectedLastSubjSeqHeader: {", "\"X-Not-Expected\": {"},
			{"services/indexer/commit.go", "\tif !c.stale() {\n", "\tif true {\n"},
		},
	},
}

// overlay writes the edited files into dir and the file that tells `go build`
// of them.
func (b *sabotage) overlay(top, dir string) (string, error) {
	replace := map[string]string{}
	for i, e := range b.edits {
		path := filepath.Join(top, filepath.FromSlash(e.file))
		from := path
		if done := replace[path]; done != "" {
			from = done
		}
		text, err := os.ReadFile(from)
		if err != nil {
			return "", err
		}
		if n := strings.Count(string(text), e.old); n != 1 {
			return "", fmt.Errorf("broken build %s: %s holds %q %d times, want once: the code has changed, and so must the edit", b.name, e.file, e.old, n)
		}
		replace[path] = filepath.Join(dir, fmt.Sprintf("%s-%d.go", b.name, i))
		if err := os.WriteFile(replace[path], []byte(strings.Replace(string(text), e.old, e.new, 1)), 0o600); err != nil {
			return "", err
		}
	}
	file := filepath.Join(dir, b.name+".json")
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	return file, os.WriteFile(file, text, 0o600)
}

// buildBroken compiles the programs with an overlay.
func (b *sabotage) build(ctx context.Context, dir string) error {
	top, err := root()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	overlay, err := b.overlay(top, dir)
	if err != nil {
		return err
	}
	return build(ctx, top, dir, overlay, programs...)
}

// tryBroken runs the broken builds that are named, each with the faults that it
// cannot survive. It is an error if one does.
func tryBroken(ctx context.Context, s settings) error {
	dir, err := os.MkdirTemp("", "chaos-broken-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // programs only
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "broken build\tfaults\tinjected\tevents in\trows\tlost\tdoubled\tverdict\t")
	survived, tried := 0, 0
	for _, b := range broken {
		if s.Broken != "all" && s.Broken != b.name {
			continue
		}
		tried++
		v, err := b.try(ctx, s, filepath.Join(dir, b.name), os.Stdout)
		if err != nil {
			return err
		}
		word := "caught"
		if v.Lost+v.Doubled == 0 {
			word = "NOT CAUGHT"
			survived++
		}
		injected := 0
		for _, f := range v.Faults {
			injected += f.Injected
		}
		fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%s\t\n", b.name, b.faults, injected, v.Accepted, v.Rows, v.Lost, v.Doubled, word)
	}
	if tried == 0 {
		return fmt.Errorf("no broken build is called %q; `--list` shows them", s.Broken)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if survived > 0 {
		return errors.New("a broken build was not caught")
	}
	return nil
}

// try runs one broken build.
func (b *sabotage) try(ctx context.Context, s settings, dir string, out io.Writer) (*verdict, error) {
	fmt.Fprintf(out, "\nbuilding what is broken on purpose: %s (%s)\n", b.name, b.what)
	if err := b.build(ctx, filepath.Join(dir, "bin")); err != nil {
		return nil, err
	}
	if s.Faults == "all" {
		s.Faults = b.faults
	}
	chosen, err := choose(s.Faults)
	if err != nil {
		return nil, err
	}
	s.Bin, s.Duration, s.files = filepath.Join(dir, "bin"), min(s.Duration, time.Minute), dir
	return experiment(ctx, s, chosen, errors.New("a broken build needs none"), out)
}
