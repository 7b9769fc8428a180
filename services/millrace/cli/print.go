package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"golang.org/x/term"
)

// isTerminal says whether a person looks at w.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// printJSON prints one document, on one line.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("print the result: %w", err)
	}
	return nil
}

// grid is a table whose columns line up. A column is right-aligned if its
// header ends in a blank.
type grid struct {
	w *tabwriter.Writer
}

func newGrid(w io.Writer, header ...string) *grid {
	g := &grid{tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)}
	g.row(header...)
	return g
}

func (g *grid) row(cells ...string) {
	fmt.Fprintln(g.w, strings.Join(cells, "\t")+"\t") // Flush has the error
}

func (g *grid) flush() error {
	if err := g.w.Flush(); err != nil {
		return fmt.Errorf("print the result: %w", err)
	}
	return nil
}

// pairs prints names and values, one pair a line.
type pairs struct {
	w *tabwriter.Writer
}

func newPairs(w io.Writer) *pairs { return &pairs{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)} }

func (p *pairs) add(name, value string) { fmt.Fprintf(p.w, "%s\t%s\n", name, value) }

func (p *pairs) flush() error {
	if err := p.w.Flush(); err != nil {
		return fmt.Errorf("print the result: %w", err)
	}
	return nil
}

// count writes a number with its thousands apart.
func count[N int | uint64](n N) string {
	s := strconv.FormatUint(uint64(n), 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
