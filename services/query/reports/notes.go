package reports

import (
	"context"
	_ "embed"
	"fmt"
	"sync"
)

//go:embed known.sql
var sqlKnown string

// known are the sources of which there has been an event. They stay known, so that a source is looked up as long as it is not.
type known struct {
	mu      sync.Mutex // guards sources
	sources map[string]bool
}

func newKnown() *known { return &known{sources: map[string]bool{}} }

func (k *known) has(source string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.sources[source]
}

func (k *known) add(source string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.sources[source] = true
}

// notes says which of the named sources have no events at all: a name that is mistyped looks like one for which nothing
// happened. The asker sees all of the sources.
func (r *Reports) notes(ctx context.Context, c *call, sources []string) (notes []string, err error) {
	for _, source := range sources {
		if r.known.has(source) {
			continue
		}
		p := params{}
		p.text("source", source)
		rows, err := c.ask(ctx, sqlKnown, p)
		if err != nil {
			return nil, fmt.Errorf("look for source %q: %w", source, err)
		}
		if len(rows.Data) == 0 {
			notes = append(notes, fmt.Sprintf("there are no events of the source %q, of any time: is that its name?", source))
			continue
		}
		r.known.add(source)
	}
	return notes, nil
}
