package query

import (
	"log/slog"
	"net/http"
	"strconv"
	"time"
)

// newServer wires the paths. Times for writing are set where answers are written, since a result may take minutes.
func (s *Service) newServer() *http.Server {
	mux := http.NewServeMux()
	mux.Handle("/v1/sql", s.endpoint("sql", http.MethodPost, s.serveSQL))
	mux.Handle("/v1/verify", s.endpoint("verify", http.MethodPost, s.serveVerify))
	mux.Handle("/v1/status", s.endpoint("status", http.MethodGet, s.serveStatus))
	mux.Handle("/", s.endpoint("other", "", func(w http.ResponseWriter, r *http.Request) error {
		return newProblem(http.StatusNotFound, kindNotFound, "there is POST /v1/sql, POST /v1/verify and GET /v1/status")
	}))
	return &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second, // of a request with its body, which is SQL
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10, // URLs carry values of parameters
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

// endpoint is what all paths share: who may ask, which method, how errors are written, what is measured. An error that
// a handler returns has written nothing yet.
func (s *Service) endpoint(name, method string, serve func(http.ResponseWriter, *http.Request) error) http.Handler {
	guard := newGuard(s.cfg.Keys)
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w := &observed{ResponseWriter: rw, status: http.StatusOK}
		began := time.Now()
		defer func() {
			s.metrics.requests.WithLabelValues(name, strconv.Itoa(w.status)).Inc()
			s.metrics.seconds.WithLabelValues(name).Observe(time.Since(began).Seconds())
		}()
		w.Header().Set("Server", "millrace")
		if p := guard.refuse(r); p != nil {
			p.write(w)
			return
		}
		if method != "" && r.Method != method {
			w.Header().Set("Allow", method)
			newProblem(http.StatusMethodNotAllowed, kindMethod, r.URL.Path+" takes "+method+" only").write(w)
			return
		}
		if err := serve(w, r); err != nil {
			p := asProblem(err)
			// Not those that are the asker's own doing: an operator can mend these.
			if (p.Code == kindInternal.code || p.Code == kindUnavailable.code) && r.Context().Err() == nil {
				s.log.Warn("a question was not answered", "endpoint", name, "status", p.Status, "query_id", p.QueryID, "err", p.Detail)
			}
			p.write(w)
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
