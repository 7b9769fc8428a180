package importer

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/services/millrace/client"
)

// Format is how a line says what happened.
type Format string

// The formats that can be imported.
const (
	Combined Format = "combined" // a web server's access log
	NDJSON   Format = "ndjson"   // one event a line
)

// Door takes events; *client.Client is one.
type Door interface {
	Post(ctx context.Context, b client.Body) (client.Answer, error)
}

// Config of one import. Format, Files and Door are required.
type Config struct {
	Format Format
	Files  []string  // "-" is Stdin
	Stdin  io.Reader // nil: "-" is an error
	Door   Door
	// InFlight is how many requests wait for their answer at a time.
	InFlight int
	// Moved, if set, is told of bytes read, as they lie on disk.
	Moved func(n int)
}

// Sizes of a request: large enough that the round trip does not count, small
// enough that several in flight are a few megabytes and far below the door's
// limit of 4 MiB.
const (
	batchEvents = 1_000
	batchBytes  = 1 << 20
	maxLine     = 4<<20 - 1
)

// Validate says what is wrong with the configuration.
func (c *Config) Validate() error {
	switch {
	case c.Format != Combined && c.Format != NDJSON:
		return fmt.Errorf("import: format %q: want combined or ndjson", c.Format)
	case len(c.Files) == 0:
		return errors.New("import: no files given; - is standard input")
	case c.Door == nil:
		return errors.New("import: no door given")
	case c.InFlight < 1 || c.InFlight > 64:
		return fmt.Errorf("import: %d requests in flight: want 1 to 64", c.InFlight)
	}
	return nil
}

// Run reads all files and returns when every line is acknowledged. With an
// error, the summary counts what was acknowledged before it; the import can be
// repeated as it was.
func Run(ctx context.Context, cfg Config) (Summary, error) {
	if err := cfg.Validate(); err != nil {
		return Summary{}, err
	}
	// Closed by the reader; as many wait as are under way, so that reading
	// never waits for an answer and never runs far ahead.
	batches := make(chan *batch, cfg.InFlight)
	group, ctx := errgroup.WithContext(ctx)
	results := newTally()
	group.Go(func() error {
		defer close(batches)
		r := reader{cfg: cfg, ids: newIdentities(), out: batches, tally: results}
		if cfg.Format == NDJSON {
			r.ndjson = newNDJSON()
		}
		return r.files(ctx)
	})
	for range cfg.InFlight {
		group.Go(func() error {
			s := newSender(cfg.Door)
			for b := range batches {
				answer, err := s.send(ctx, b)
				if err != nil {
					return fmt.Errorf("send the lines from %s on: %w", b.places[0], err)
				}
				if err := results.answered(b, answer); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := group.Wait()
	return results.summary(), err
}

// reader turns lines into batches. It is owned by one goroutine.
type reader struct {
	cfg    Config
	ids    *identities
	ndjson *ndjson
	out    chan<- *batch
	tally  *tally
	open   *batch // not yet full; nil if empty
}

func (r *reader) files(ctx context.Context) error {
	for _, name := range r.cfg.Files {
		if err := r.file(ctx, name); err != nil {
			return err
		}
	}
	return r.flush(ctx)
}

func (r *reader) file(ctx context.Context, name string) error {
	if name == "-" && r.cfg.Stdin == nil {
		return errors.New("import: there is no standard input to read")
	}
	in, closeFile, err := open(name, r.cfg.Stdin, r.cfg.Moved)
	if err != nil {
		return err
	}
	defer func() { _ = closeFile() }() // it was only read
	err = eachLine(in, maxLine, func(number int, line []byte, fault error) error {
		return r.line(ctx, Place{name, number}, line, fault)
	})
	if err != nil && ctx.Err() == nil {
		// What was read before the damage is complete lines: they go in.
		return errors.Join(fmt.Errorf("import: read %s: %w", name, err), r.flush(ctx))
	}
	return err
}

func (r *reader) line(ctx context.Context, at Place, line []byte, fault error) error {
	r.tally.line()
	if fault != nil {
		r.tally.unsendable(at, fault)
		return nil
	}
	id := r.ids.next(line)
	var event []byte
	if r.cfg.Format == Combined {
		var refused error
		if event, refused = combined(line, id); refused != nil {
			return r.put(ctx, declared(at, line, id, refused.Error()))
		}
	} else {
		var alone bool
		if event, alone = r.ndjson.convert(line, id); alone {
			b := &batch{id: id}
			b.add(at, event)
			return r.put(ctx, b)
		}
	}
	if r.open != nil && (len(r.open.places) == batchEvents || len(r.open.body)+len(event) >= batchBytes) {
		if err := r.flush(ctx); err != nil {
			return err
		}
	}
	if r.open == nil {
		r.open = &batch{}
	}
	r.open.add(at, event)
	return nil
}

func (r *reader) flush(ctx context.Context) error {
	if r.open == nil {
		return nil
	}
	b := r.open
	r.open = nil
	return r.put(ctx, b)
}

func (r *reader) put(ctx context.Context, b *batch) error {
	select {
	case r.out <- b:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
