package sqlgate

import (
	"net/http"

	"github.com/millrace/millrace/services/query/reader"
)

// ServeSQL is POST /v1/sql.
func (g *Gate) ServeSQL(w http.ResponseWriter, r *http.Request) error {
	q, question, err := readSQL(w, r)
	if err != nil {
		return err
	}
	return g.answer(w, r, q, question)
}

// answer runs a question and passes its result on. An error that it returns has written nothing yet.
func (g *Gate) answer(w http.ResponseWriter, r *http.Request, q request, question reader.Question) error {
	if err := g.cfg.Await(r.Context(), q.after, q.wait); err != nil {
		return err
	}
	a, err := g.Ask(r.Context(), question)
	if err != nil {
		return err
	}
	defer a.Close()
	if q.events {
		return g.sendEvents(w, r, a)
	}
	h := w.Header()
	for _, name := range []string{"Content-Type", reader.HeaderQueryID, reader.HeaderSummary, reader.HeaderFormat, reader.HeaderExceptionTag} {
		if v := a.Response.Header.Get(name); v != "" {
			h.Set(name, v)
		}
	}
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	g.pass(r.Context(), w, a)
	return nil
}
