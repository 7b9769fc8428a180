package live

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/services/query/access"
	"github.com/millrace/millrace/services/query/problem"
)

// wish is a request for GET /v1/live, understood.
type wish struct {
	filter  Filter
	sources []string // nil is all
	at      position
	since   time.Time // for the shards that are not in named; zero: from now on
	named   []bool
}

func bad(format string, args ...any) error {
	return problem.New(http.StatusBadRequest, problem.BadRequest, fmt.Sprintf(format, args...))
}

// parameters reads the URL; each may be given once, and an unknown one is an error, so that none is ignored in silence.
func parameters(r *http.Request, known func(name string) bool, names string) (url.Values, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, bad("the parameters of the URL cannot be read: %v", err)
	}
	for name, values := range query {
		if !known(name) {
			return nil, bad("parameter %q is unknown: there are %s", name, names)
		}
		if len(values) > 1 {
			return nil, bad("parameter %s is given %d times", name, len(values))
		}
	}
	return query, nil
}

// seen are the sources that a request may see: of those it names, or all of its key's.
func seen(r *http.Request, named string) (sources []string, all bool, err error) {
	key := access.From(r.Context())
	sources, all = key.Sources()
	if named == "" {
		return sources, all, nil
	}
	sources = nil
	for s := range strings.SplitSeq(named, ",") {
		if err := bus.ValidSource(s); err != nil {
			return nil, false, bad("%v", err)
		}
		if !key.Sees(s) {
			return nil, false, problem.New(http.StatusForbidden, problem.Forbidden, fmt.Sprintf("the key %s does not see the source %s", key.Name(), s))
		}
		sources = append(sources, s)
	}
	return sources, false, nil
}

func readWish(r *http.Request, shards int) (wish, error) {
	names := []string{"where", "source", "after", "since"}
	query, err := parameters(r, func(name string) bool { return slices.Contains(names, name) }, strings.Join(names, ", "))
	if err != nil {
		return wish{}, err
	}
	var w wish
	if w.filter, err = CompileFilter(query.Get("where")); err != nil {
		return wish{}, bad("where: %v", err)
	}
	sources, all, err := seen(r, query.Get("source"))
	if err != nil {
		return wish{}, err
	}
	if !all {
		w.sources = append([]string{}, sources...)
	}
	after := query.Get("after")
	if last := r.Header.Get("Last-Event-ID"); last != "" { // a browser that comes back sends the URL as it was
		after, query["since"] = last, nil
	}
	if w.at, w.named, err = parsePosition(after, shards); err != nil {
		return wish{}, bad("%v", err)
	}
	if text := query.Get("since"); text != "" {
		if after != "" {
			return wish{}, bad("after and since exclude each other")
		}
		if w.since, err = readSince(text, time.Now()); err != nil {
			return wish{}, err
		}
	}
	return w, nil
}

// readSince reads a time, or a span that ends now.
func readSince(text string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return now.Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, bad("since %q: want a span such as 10m, or a time such as 2026-01-31T12:00:00Z", text)
	}
	return t, nil
}

// seat counts a reader, of all and of its key; the problem says that there are enough. What the reader asks, it asks with
// the context that is returned.
func (l *Live) seat(ctx context.Context) (_ context.Context, leave func(), err error) {
	key, stand, err := access.From(ctx).Sit()
	if err != nil {
		return nil, nil, err
	}
	free, err := l.seats.Take(key)
	if err != nil {
		stand()
		return nil, nil, err
	}
	l.metrics.readers.Inc()
	return access.With(ctx, key), func() { free(); stand(); l.metrics.readers.Dec() }, nil
}

// ServeEvents is GET /v1/live. An error that it returns has written nothing yet.
func (l *Live) ServeEvents(w http.ResponseWriter, r *http.Request) error {
	if err := access.Need(r.Context(), access.Live); err != nil {
		return err
	}
	ctx := r.Context()
	if err := l.ready(ctx); err != nil {
		return err
	}
	now := l.cfg.Tail.Position() // of before the request was understood: what comes meanwhile is in the stream
	wish, err := readWish(r, len(now))
	if err != nil {
		return err
	}
	ctx, leave, err := l.seat(ctx) // before NATS has work with it
	if err != nil {
		return err
	}
	defer leave()
	if err := l.begin(ctx, &wish, now); err != nil {
		return err
	}
	rd := &reading{l: l, wish: wish, sub: l.cfg.Tail.Subscribe(wish.at.receipt()), out: newSSE(w, l.cfg.Stall)}
	if err := rd.run(ctx); errors.Is(err, errStalled) {
		l.metrics.dropped.WithLabelValues(droppedStall).Inc()
	}
	return nil // it was said, if anybody is there to hear it
}

// ready returns once it is known where the log ends.
func (l *Live) ready(ctx context.Context) error {
	select {
	case <-l.cfg.Tail.Ready():
		return nil
	case <-time.After(request):
		return fmt.Errorf("%w: the log has not been found yet", ErrUnavailable)
	case <-l.cfg.Stopping:
		return fmt.Errorf("%w: the service is stopping", ErrUnavailable)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// begin gives a place to the shards whose place the request leaves open, and looks whether those that it names exist.
func (l *Live) begin(ctx context.Context, wish *wish, now []uint64) error {
	var ends []uint64
	for shard := range wish.at {
		switch {
		case wish.named[shard] && wish.at[shard].seq > now[shard]:
			if ends == nil { // another service may have been ahead of this one's tail
				var err error
				if ends, err = l.history.ends(ctx, len(now)); err != nil {
					return err
				}
			}
			if end := ends[shard]; wish.at[shard].seq > end {
				return bad("shard %d ends at %d, the position is %d: is it of another installation?", shard, end, wish.at[shard].seq)
			}
		case wish.named[shard]:
		case wish.since.IsZero():
			wish.at[shard] = mark{seq: now[shard], idx: whole}
		default:
			seq, err := l.history.since(ctx, shard, wish.since)
			if err != nil {
				return err
			}
			wish.at[shard] = mark{seq: seq, idx: whole}
		}
	}
	return nil
}
