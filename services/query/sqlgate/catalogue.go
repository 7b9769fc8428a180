package sqlgate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Catalogue are the named queries of a directory, as they last could be read.
type Catalogue struct {
	dir string
	log *slog.Logger
	at  string // its fingerprint when it was opened
	now atomic.Pointer[map[string]Named]
}

// ErrNamed says that a file of the directory cannot be a named query.
var ErrNamed = errors.New("bad named query")

// maxNamed bounds the files of a directory that is none of ours.
const maxNamed = 1000

// OpenCatalogue reads a directory of named queries; "" is none. Every file that ends in .sql must be one: the error names
// those that are not.
func OpenCatalogue(dir string, log *slog.Logger) (*Catalogue, error) {
	c := &Catalogue{dir: dir, log: log}
	c.now.Store(&map[string]Named{})
	if dir == "" {
		return c, nil
	}
	c.at = fingerprint(dir) // before it is read: what changes meanwhile is read again
	all, bad := readNamed(dir)
	if bad != nil {
		return nil, bad
	}
	c.now.Store(&all)
	return c, nil
}

// List are the queries by name.
func (c *Catalogue) List() []Named {
	now := *c.now.Load()
	list := make([]Named, 0, len(now))
	for _, q := range now {
		list = append(list, q)
	}
	slices.SortFunc(list, func(a, b Named) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Find is one of them.
func (c *Catalogue) Find(name string) (Named, bool) {
	q, ok := (*c.now.Load())[name]
	return q, ok
}

// reread is how often the directory is looked at.
const reread = 2 * time.Second

// Run reads the directory again when it changes, until ctx is done. A file that has become unreadable keeps the query that
// it was.
func (c *Catalogue) Run(ctx context.Context) error {
	if c.dir == "" {
		<-ctx.Done()
		return ctx.Err()
	}
	tick := time.NewTicker(reread)
	defer tick.Stop()
	for seen := c.at; ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if now := fingerprint(c.dir); now != seen {
			seen = now
			c.reload()
		}
	}
}

func (c *Catalogue) reload() {
	all, bad := readNamed(c.dir)
	old := *c.now.Load()
	if bad != nil {
		c.log.Warn("named queries cannot be used and stay as they were", "dir", c.dir, "err", bad)
		for name, q := range old {
			if _, ok := all[name]; !ok && there(filepath.Join(c.dir, name+".sql")) {
				all[name] = q
			}
		}
	}
	c.now.Store(&all)
	if bad == nil {
		c.log.Info("named queries were read again", "dir", c.dir, "queries", len(all))
	}
}

func there(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// fingerprint changes when a file of the directory does.
func fingerprint(dir string) string {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, f := range files {
		if info, err := f.Info(); err == nil && strings.HasSuffix(f.Name(), ".sql") {
			fmt.Fprintf(&b, "%s %d %d\n", f.Name(), info.Size(), info.ModTime().UnixNano())
		}
	}
	return b.String()
}

// readNamed returns the files that are queries, and an error that joins what is wrong with the others.
func readNamed(dir string) (map[string]Named, error) {
	all := map[string]Named{}
	files, err := os.ReadDir(dir)
	if err != nil {
		return all, fmt.Errorf("named queries: %w", err)
	}
	var bad []error
	for _, f := range files {
		name, ok := strings.CutSuffix(f.Name(), ".sql")
		if !ok || strings.HasPrefix(name, ".") { // editors leave such
			continue
		}
		if len(all) == maxNamed {
			bad = append(bad, fmt.Errorf("%w: more than %d files in %s", ErrNamed, maxNamed, dir))
			break
		}
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err == nil {
			var q Named
			if q, err = parseNamed(name, string(text)); err == nil {
				all[name] = q
				continue
			}
		}
		bad = append(bad, fmt.Errorf("%w %s: %w", ErrNamed, filepath.Join(dir, f.Name()), err))
	}
	return all, errors.Join(bad...)
}
