package sources

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
)

const (
	// The delays between two attempts to watch.
	watchFirst, watchLast = 50 * time.Millisecond, time.Second
	// watchAnswer is how long NATS may take to begin one.
	watchAnswer = 5 * time.Second
	// watchAgain is how long one is believed: the bucket is silent for days, and
	// so is a watch that is broken, whatever the client thinks of it.
	watchAgain = 30 * time.Second
)

// errNoBucket: nobody has made it yet.
var errNoBucket = errors.New("the bucket does not exist; run `millrace migrate`, or start a service that may create it")

// errSilent ends a watch that has not named all sources in time.
var errSilent = errors.New("NATS does not name the sources")

// Run follows the bucket until ctx is done; its error is ctx's. While NATS is
// away, or what it says cannot be read, the last state stands.
func (r *Registry) Run(ctx context.Context, js jetstream.JetStream, names bus.Names) error {
	back := js.Conn().StatusChanged(nats.CONNECTED)
	defer js.Conn().RemoveStatusListener(back)
	w := watch{r: r, js: js, names: names, back: back, unread: map[string]uint64{}}
	delay := watchFirst
	for ctx.Err() == nil {
		err := w.once(ctx)
		if err == nil {
			delay = watchFirst
			continue
		}
		if ctx.Err() != nil {
			break
		}
		if text := err.Error(); text != w.trouble {
			w.trouble = text
			level := slog.LevelWarn
			if errors.Is(err, errNoBucket) { // as in an installation that is being made
				level = slog.LevelInfo
			}
			r.log.Log(ctx, level, "the sources cannot be read; the keys of flags and those that were read before go on", "bucket", names.BucketSources(), "err", err)
		}
		select {
		case <-ctx.Done():
		case <-back:
		case <-time.After(delay/2 + rand.N(delay/2)): //nolint:gosec // no secret
		}
		delay = min(2*delay, watchLast)
	}
	return ctx.Err()
}

// watch is what Run knows from one attempt to the next.
type watch struct {
	r      *Registry
	js     jetstream.JetStream
	names  bus.Names
	back   chan nats.Status  // the connection was lost and is there again
	unread map[string]uint64 // revisions of values that cannot be read, which was logged

	trouble string // why the sources are not known, as it was logged
}

// once watches until the watch ends, is old, or the connection is a new one.
// nil says that all sources were named; it is begun again at once then.
func (w *watch) once(parent context.Context) error {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	patience := time.AfterFunc(watchAnswer, cancel)
	defer patience.Stop()
	kv, err := w.js.KeyValue(ctx, w.names.BucketSources())
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		w.r.load() // there are no sources but those of flags
		return errNoBucket
	}
	if err != nil {
		return w.silent(parent, ctx, err)
	}
	// With the values before: where the last one cannot be read, they have the
	// last good state.
	watcher, err := kv.WatchAll(ctx, jetstream.IncludeHistory())
	if err != nil {
		return w.silent(parent, ctx, err)
	}
	defer func() { _ = watcher.Stop() }() // it may have ended by itself

	records, complete := map[string]Record{}, false
	for {
		select {
		case <-ctx.Done():
			if complete {
				return nil
			}
			return w.silent(parent, ctx, ctx.Err())
		case <-w.back:
			if complete {
				return nil
			}
		case entry, open := <-watcher.Updates():
			switch {
			case !open && complete:
				return nil
			case !open:
				return errSilent
			case entry == nil:
				complete = true
				patience.Reset(watchAgain)
				w.settle(records)
			default:
				w.see(records, entry)
				if complete {
					w.settle(records)
				}
			}
		}
	}
}

// silent tells an end by own patience from others.
func (w *watch) silent(parent, ctx context.Context, err error) error {
	if parent.Err() == nil && ctx.Err() != nil {
		return errSilent
	}
	return err
}

// see takes one value in. One that cannot be read changes nothing.
func (w *watch) see(records map[string]Record, entry jetstream.KeyValueEntry) {
	name := entry.Key()
	if entry.Operation() != jetstream.KeyValuePut {
		delete(records, name)
		delete(w.unread, name)
		return
	}
	rec, err := parse(name, entry.Value())
	if err == nil {
		records[name] = rec
		return
	}
	if w.unread[name] < entry.Revision() { // said once
		w.unread[name] = entry.Revision()
		_, known := records[name]
		w.r.log.Error("a source cannot be read and stays as it was before", "source", name, "revision", entry.Revision(), "known", known, "err", err)
	}
}

// settle makes the records what doors know.
func (w *watch) settle(records map[string]Record) {
	w.r.install(maps.Clone(records))
	w.r.load()
	if w.trouble != "" {
		w.trouble = ""
		w.r.log.Info("the sources are known again")
	}
}
