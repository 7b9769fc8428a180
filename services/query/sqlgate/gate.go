package sqlgate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/services/query/access"
	"github.com/millrace/millrace/services/query/problem"
	"github.com/millrace/millrace/services/query/reader"
)

// Config of a gate. All but Queries is required.
type Config struct {
	Reader *reader.Client
	// Await returns when the rows of a receipt are in ClickHouse; its error answers the request.
	Await func(ctx context.Context, receipt string, patience time.Duration) error
	// Alive bounds a question by ClickHouse's life, and refuses it at once while there is none.
	Alive         func(context.Context) (context.Context, context.CancelFunc, error)
	MaxTime       time.Duration // of one question, waiting for a receipt not included
	MaxConcurrent int           // questions at the same time, of all keys
	Queries       string        // the directory of the named queries, "" is none
	Document      []byte        // the service's OpenAPI document, in YAML

	Metrics Metrics
	Log     *slog.Logger
}

// Metrics that the gate keeps.
type Metrics struct {
	Running prometheus.Gauge       // questions that ClickHouse works on
	Bytes   prometheus.Counter     // of results
	Cut     prometheus.Counter     // results that failed after their first byte
	Refused *prometheus.CounterVec // questions over a quota, by key
}

// Gate lets questions through. Its methods may be called from any goroutine.
type Gate struct {
	cfg     Config
	places  *access.Places // one for each question that runs
	running *running
	named   *Catalogue
}

// New reads the named queries and returns the gate. The error names a file that cannot be one.
func New(cfg Config) (*Gate, error) {
	named, err := OpenCatalogue(cfg.Queries, cfg.Log)
	if err != nil {
		return nil, err
	}
	return &Gate{cfg: cfg, places: access.NewPlaces(cfg.MaxConcurrent, "questions are running"), running: newRunning(), named: named}, nil
}

// Run reads the named queries again when they change, until ctx is done.
func (g *Gate) Run(ctx context.Context) error { return g.named.Run(ctx) }

// Answer is a result that has begun. It must be closed, which ends the question if it still runs.
type Answer struct {
	ID       string         // of the question
	Response *http.Response // of ClickHouse

	began time.Time
	ctx   context.Context // of the question
	stop  func()
}

// Close ends the question and gives back its place.
func (a *Answer) Close() {
	_ = a.Response.Body.Close() // what matters of it was read, or is not wanted
	a.stop()
}

// Whole reads all of a result that is expected to be small. The error wraps [reader.ErrCut] when it is not whole.
func (a *Answer) Whole(limit int64) ([]byte, error) {
	in := reader.Watch(a.ctx, a.Response)
	text, err := io.ReadAll(io.LimitReader(in, limit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("question %s: %w", a.ID, err)
	case int64(len(text)) > limit:
		return nil, problem.New(http.StatusUnprocessableEntity, problem.Limit, fmt.Sprintf("the result has more than %d bytes", limit))
	}
	return text, nil
}

// Ask runs a statement as the key of ctx, seeing the sources of that key only: Sources and All of q are not looked at. It
// returns when ClickHouse has begun to answer. The error has a status by [reader.Problem].
func (g *Gate) Ask(ctx context.Context, q reader.Question) (_ *Answer, err error) {
	key := access.From(ctx)
	if q.Sources, q.All = key.Sources(); !q.All {
		if err := inside(q.SQL, q.Values); err != nil {
			return nil, err
		}
	}
	if q.ID == "" {
		q.ID = reader.NewID()
	} else {
		q.Asker = key.Name()
	}
	var undo stack
	defer func() {
		if err != nil {
			undo.run()
		}
	}()
	leave, err := g.places.Take(key)
	if err != nil {
		if p, ok := errors.AsType[*problem.Problem](err); ok && p.Of(problem.Quota) {
			g.cfg.Metrics.Refused.WithLabelValues(key.Name()).Inc()
		}
		return nil, err
	}
	undo.push(leave)
	done, err := key.Take()
	if err != nil {
		g.cfg.Metrics.Refused.WithLabelValues(key.Name()).Inc()
		return nil, err
	}
	undo.push(done)
	g.cfg.Metrics.Running.Inc()
	undo.push(g.cfg.Metrics.Running.Dec)
	limit := key.MaxTime(g.cfg.MaxTime)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w: it did not end within %s", context.DeadlineExceeded, limit))
	undo.push(cancel) // closes the connection to ClickHouse, which ends the question there too
	ctx, alive, err := g.cfg.Alive(ctx)
	if err != nil {
		return nil, err
	}
	undo.push(alive)
	ctx, forget, err := g.running.add(ctx, q.ID, key)
	if err != nil {
		return nil, err
	}
	undo.push(forget)
	began := time.Now()
	res, err := g.cfg.Reader.Ask(ctx, q)
	if err != nil {
		return nil, err
	}
	return &Answer{ID: q.ID, Response: res, began: began, ctx: ctx, stop: undo.run}, nil
}

// stack is what has to be undone, the last first.
type stack []func()

func (s *stack) push(f func()) { *s = append(*s, f) }

func (s *stack) run() {
	for _, undo := range slices.Backward(*s) {
		undo()
	}
	*s = nil
}

// pass copies an answer to a client. It does not return when the result was cut.
func (g *Gate) pass(ctx context.Context, w http.ResponseWriter, a *Answer) {
	n, err := reader.Pass(a.ctx, w, a.Response)
	g.cfg.Metrics.Bytes.Add(float64(n))
	if err == nil {
		return
	}
	g.noteCut(ctx, a, n, err)
	// The client must see that the answer is not whole: without this, net/http would end it like any other.
	panic(http.ErrAbortHandler)
}

// noteCut counts a cut result, and logs it unless the client itself is gone or has cancelled it.
func (g *Gate) noteCut(ctx context.Context, a *Answer, n int64, err error) {
	g.cfg.Metrics.Cut.Inc()
	p, ok := errors.AsType[*problem.Problem](err)
	if ctx.Err() == nil && (!ok || !p.Of(problem.Cancelled)) {
		g.cfg.Log.Warn("a result was cut", "query_id", a.ID, "bytes", n, "err", err)
	}
}

// Read returns the whole result of a statement of our own, run as the key of ctx, of at most limit bytes. params are the
// values of {name:Type}, as ClickHouse reads them: see [reader.Param].
func (g *Gate) Read(ctx context.Context, sql, format string, params map[string]string, limit int64) ([]byte, error) {
	values := url.Values{"default_format": {format}}
	for name, value := range params {
		values.Set("param_"+name, value)
	}
	a, err := g.Ask(ctx, reader.Question{SQL: sql, Values: values})
	if err != nil {
		return nil, err
	}
	defer a.Close()
	return a.Whole(limit)
}
