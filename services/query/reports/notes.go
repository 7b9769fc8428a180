package reports

import (
	"context"
	_ "embed"
	"fmt"
	"sync"
)

//go:embed known.sql
var sqlKnown string

// known are the sources, and the names in sources, of which there has been an event. They stay known, so that one is looked
// up as long as it is not.
type known struct {
	mu      sync.Mutex // guards sources
	sources map[string]bool
}

// maxKnown bounds them: names are as many as clients make up.
const maxKnown = 10_000

func newKnown() *known { return &known{sources: map[string]bool{}} }

func (k *known) has(source string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.sources[source]
}

func (k *known) add(source string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.sources) >= maxKnown {
		clear(k.sources)
	}
	k.sources[source] = true
}

// notes says which of the named sources have no events at all, and which names of events that the answer has nothing of: one
// that is mistyped looks like one for which nothing happened. The asker sees all of the sources.
func (r *Reports) notes(ctx context.Context, c *call, who Asker, sources, nothingOf []string) (notes []string, err error) {
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
	if len(sources) > 0 && len(notes) == len(sources) {
		return notes, nil // that there is no event of a name either goes without saying
	}
	more, err := r.nameNotes(ctx, c, who, sources, nothingOf)
	return append(notes, more...), err
}
