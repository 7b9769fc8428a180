package svc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// AdminConfig is what an admin port needs; all fields are required.
type AdminConfig struct {
	// Addr to listen on; port 0 picks a free one.
	Addr   string
	Reg    prometheus.Gatherer
	Health *Health
	Log    *slog.Logger
}

// Admin serves /livez, /readyz, /metrics and /debug/pprof of one process. It
// is meant for operators and listens where they say; nothing on it asks for a
// password.
type Admin struct {
	log      *slog.Logger
	health   *Health
	listener net.Listener
	server   *http.Server
}

// NewAdmin listens at once, so that a taken port ends the start by name.
// Nothing is answered before Run.
func NewAdmin(cfg AdminConfig) (*Admin, error) {
	if cfg.Reg == nil || cfg.Health == nil || cfg.Log == nil {
		return nil, errors.New("admin port: Reg, Health and Log are required")
	}
	listener, err := net.Listen("tcp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("admin port: %w; --admin-addr chooses another", err)
	}
	a := &Admin{log: cfg.Log, health: cfg.Health, listener: listener}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", serveIndex)
	mux.HandleFunc("GET /livez", serveLive)
	mux.HandleFunc("GET /readyz", a.serveReady)
	mux.HandleFunc("GET /healthz", a.serveReady) // the older name of the same
	mux.Handle("GET /metrics", promhttp.HandlerFor(cfg.Reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	a.server = &http.Server{Handler: localOnly(listener.Addr(), mux), ReadHeaderTimeout: 5 * time.Second}
	return a, nil
}

// Addr is where the port listens, with the number chosen for port 0.
func (a *Admin) Addr() net.Addr { return a.listener.Addr() }

// Run answers until ctx is done and then lets requests that are under way end
// for a second: a profile that is still being taken does not hold the process.
func (a *Admin) Run(ctx context.Context) error {
	served := make(chan error, 1)
	// Ended by Shutdown or Close below.
	go func() { served <- a.server.Serve(a.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("admin port %s: %w", a.Addr(), err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := a.server.Shutdown(stop); err != nil {
		a.log.Info("admin port closed with requests under way", "err", err)
		_ = a.server.Close() // it closes what Shutdown gave up on; there is nobody left to tell
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin port %s: %w", a.Addr(), err)
	}
	return nil
}

// Close frees the port of an Admin that was never run.
func (a *Admin) Close() error { return a.listener.Close() }

func serveIndex(w http.ResponseWriter, _ *http.Request) {
	writeText(w, http.StatusOK, "/livez\n/readyz?verbose\n/metrics\n/debug/pprof/\n")
}

// serveLive answers as long as the process can answer at all. What it depends
// on belongs to readiness: a restart does not bring NATS back.
func serveLive(w http.ResponseWriter, _ *http.Request) { writeText(w, http.StatusOK, "ok\n") }

// serveReady uses the lines of the Kubernetes API server's endpoint of the
// same name: [+] passed, [-] failed with its reason. Failures are always
// listed, passes with ?verbose; ?exclude=<check> leaves one out.
func (a *Admin) serveReady(w http.ResponseWriter, r *http.Request) {
	results, _ := a.health.Check(r.Context())
	query := r.URL.Query()
	_, verbose := query["verbose"]
	results = slices.DeleteFunc(results, func(c CheckResult) bool { return slices.Contains(query["exclude"], c.Name) })
	ready := true
	var b strings.Builder
	for _, c := range results {
		ready = ready && c.Err == nil
		switch {
		case c.Err != nil:
			fmt.Fprintf(&b, "[-]%s failed: %s\n", c.Name, strings.ReplaceAll(c.Err.Error(), "\n", "; "))
		case verbose:
			fmt.Fprintf(&b, "[+]%s ok\n", c.Name)
		}
	}
	if !ready {
		writeText(w, http.StatusServiceUnavailable, b.String()+"not ready\n")
		return
	}
	writeText(w, http.StatusOK, b.String()+"ok\n")
}

func writeText(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body)) // the reader is gone; there is nobody to tell
}
