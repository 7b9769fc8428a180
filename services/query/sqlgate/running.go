package sqlgate

import (
	"context"
	"net/http"
	"sync"

	"github.com/millrace/millrace/services/query/access"
	"github.com/millrace/millrace/services/query/problem"
)

// running are the questions that this service has with ClickHouse, and what ends each of them.
type running struct {
	mu  sync.Mutex
	now map[asked]context.CancelCauseFunc // guarded by mu
}

// asked names a question. Every key chooses ids of its own: what others ask does not show, and is in nobody's way.
type asked struct{ by, id string }

func newRunning() *running { return &running{now: map[asked]context.CancelCauseFunc{}} }

// add makes a question one that can be cancelled. Two of one id cannot run at once with a key.
func (r *running) add(ctx context.Context, id string, key *access.Key) (context.Context, func(), error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	q := asked{by: key.Name(), id: id}
	if _, ok := r.now[q]; ok {
		return nil, nil, problem.New(http.StatusConflict, problem.Conflict, "a question with the id "+id+" is running; choose another, or leave query_id out")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	r.now[q] = cancel
	return ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.now, q)
		cancel(nil)
	}, nil
}

// end cancels the key's own question of an id. The scope admin ends those of all keys; to others it is as if there were none.
func (r *running) end(id string, key *access.Key) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := false
	for q, cancel := range r.now {
		if q.id == id && (q.by == key.Name() || key.Allows(access.Admin)) {
			found = true
			cancel(problem.New(http.StatusConflict, problem.Cancelled, "question "+id+" was cancelled on request"))
		}
	}
	if !found {
		return problem.New(http.StatusNotFound, problem.NotFound, "no question with the id "+id+" is running here; it may have ended, or run on another query service")
	}
	return nil
}

// ServeCancel is DELETE /v1/sql/{id}. The question's own request is answered 409, or cut when its result had begun.
func (g *Gate) ServeCancel(w http.ResponseWriter, r *http.Request) error {
	if err := g.running.end(r.PathValue("id"), access.From(r.Context())); err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
	return nil
}
