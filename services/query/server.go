package query

import (
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/millrace/millrace/services/query/access"
	"github.com/millrace/millrace/services/query/mcp"
	"github.com/millrace/millrace/services/query/problem"
	"github.com/millrace/millrace/services/query/reports"
)

// newServer wires the paths. Times for writing are set where answers are written, since a result may take minutes.
func (s *Service) newServer() *http.Server {
	mux := http.NewServeMux()
	mux.Handle("/v1/sql", s.endpoint("sql", http.MethodPost, s.gate.ServeSQL, access.SQL))
	mux.Handle("/v1/sql/{id}", s.endpoint("cancel", http.MethodDelete, s.gate.ServeCancel, access.Any))
	mux.Handle("/v1/queries", s.endpoint("queries", http.MethodGet, s.gate.ServeQueries, access.Reports))
	mux.Handle("/v1/queries/{name}", s.endpoint("query", http.MethodGet, s.gate.ServeQuery, access.Reports))
	mux.Handle(reports.Root, s.endpoint("reports", http.MethodGet, s.serveReports, access.Reports))
	mux.Handle(reports.Root+"/{name}", s.endpoint("report", http.MethodGet, s.serveReports, access.Reports))
	mux.Handle("/openapi.json", s.endpoint("openapi", http.MethodGet, s.gate.ServeOpenAPI, access.Any))
	mux.Handle("/v1/ask", s.endpoint("ask", http.MethodPost, s.users.ServeAsk, access.Ask, access.Write))
	mux.Handle("/v1/users/{id}", s.endpoint("users", http.MethodGet, s.users.ServeUser, access.Ask))
	mux.Handle("/v1/live", s.endpoint("live", http.MethodGet, s.live.ServeEvents, access.Live))
	mux.Handle("/v1/live/sql", s.endpoint("live_sql", http.MethodGet, s.live.ServeNumbers, access.SQL))
	mux.Handle(mcp.Path, s.endpoint("mcp", http.MethodPost, s.serveTools(mux), access.Any))
	mux.Handle("/v1/verify", s.endpoint("verify", http.MethodPost, s.serveVerify, access.Admin))
	mux.Handle("/v1/status", s.endpoint("status", http.MethodGet, s.serveStatus, access.Admin))
	mux.Handle("/", s.endpoint("other", "", func(w http.ResponseWriter, r *http.Request) error {
		return problem.New(http.StatusNotFound, problem.NotFound, "GET /openapi.json says which paths there are")
	}, access.Any))
	return &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second, // of a request with its body, which is SQL
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10, // URLs carry values of parameters
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

// endpoint is what all paths share: who may ask, which method, how errors are written, what is measured. The key has one
// of the scopes, and is in the request's context from here on. An error that a handler returns has written nothing yet.
func (s *Service) endpoint(name, method string, serve func(http.ResponseWriter, *http.Request) error, scopes ...access.Scope) http.Handler {
	guard := newGuard(s.ring)
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w := &observed{ResponseWriter: rw, status: http.StatusOK}
		began := time.Now()
		defer func() {
			s.metrics.requests.WithLabelValues(name, strconv.Itoa(w.status)).Inc()
			s.metrics.seconds.WithLabelValues(name).Observe(time.Since(began).Seconds())
		}()
		w.Header().Set("Server", "millrace")
		key, p := guard.admit(r)
		if p != nil {
			p.Write(w)
			return
		}
		r = r.WithContext(access.With(r.Context(), key))
		if method != "" && r.Method != method {
			w.Header().Set("Allow", method)
			problem.New(http.StatusMethodNotAllowed, problem.Method, r.URL.Path+" takes "+method+" only").Write(w)
			return
		}
		err := access.Need(r.Context(), scopes...)
		if err == nil {
			err = serve(w, r)
		}
		if err != nil {
			p := asProblem(err)
			// Not those that are the asker's own doing: an operator can mend these.
			if (p.Of(problem.Internal) || p.Of(problem.Unavailable)) && r.Context().Err() == nil {
				s.log.Warn("a question was not answered", "endpoint", name, "status", p.Status, "query_id", p.QueryID, "err", p.Detail)
			}
			p.Write(w)
		}
	})
}

// observed remembers the status for the metrics.
type observed struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (o *observed) WriteHeader(status int) {
	o.status = status
	o.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (o *observed) Unwrap() http.ResponseWriter { return o.ResponseWriter }
