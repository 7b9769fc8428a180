package query

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/localdb"
	"github.com/millrace/millrace/libs/svc"
	"github.com/millrace/millrace/libs/testkit"
	"github.com/millrace/millrace/services/query/problem"
)

// rig is one test's NATS and ClickHouse with a query service over them.
type rig struct {
	*testing.T
	nats *testkit.NATS
	db   *testkit.ClickHouse
	js   jetstream.JetStream
	inst bus.Installation
	svc  *Service
	reg  *prometheus.Registry
	base string

	events, letters []stored // see lane
}

// newRig makes one with a sink for each shard, or with as many as are named.
func newRig(t *testing.T, shards int, sinks ...int) *rig {
	t.Helper()
	if len(sinks) == 0 {
		sinks = []int{shards}
	}
	r := &rig{T: t, nats: testkit.StartNATS(t), db: testkit.StartClickHouse(t)}
	r.js = r.nats.Connect()
	r.inst = r.nats.Provision(r.js, shards, sinks...)
	r.svc, r.base = r.serve()
	return r
}

// config is what reaches the rig's servers.
func (r *rig) config() Config {
	u, err := url.Parse(r.db.Config(localdb.ReaderUser).URL)
	if err != nil {
		r.Fatal(err)
	}
	password, _ := u.User.Password()
	r.reg = prometheus.NewRegistry()
	return Config{
		Bus: bus.Config{URL: r.nats.URL}, Addr: "127.0.0.1:0",
		ClickHouse: ClickHouse{URL: r.db.Addrs().HTTP, User: u.User.Username(), Password: svc.Secret(password)},
		Log:        slog.New(slog.NewTextHandler(r.Output(), nil)), Reg: r.reg, Health: svc.NewHealth(),
	}
}

// serve runs a service until the test ends.
func (r *rig) serve(change ...func(*Config)) (*Service, string) {
	r.Helper()
	cfg := r.config()
	for _, f := range change {
		f(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		r.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	r.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			r.Errorf("query service: %v", err)
		}
	})
	return s, "http://" + s.Addr().String()
}

// answer is a response that was read to its end.
type answer struct {
	status  int
	header  http.Header
	body    string
	problem problem.Problem
	err     error // of reading the body
}

// post asks a question; query is what follows the ? of the URL.
func (r *rig) post(path, query, body string, change ...func(*http.Request)) answer {
	r.Helper()
	u := r.base + path
	if query != "" {
		u += "?" + query
	}
	req, err := http.NewRequestWithContext(r.Context(), http.MethodPost, u, strings.NewReader(body))
	if err != nil {
		r.Fatal(err)
	}
	for _, f := range change {
		f(req)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.Errorf("%s: %v", path, err) // not Fatal: some ask from goroutines of their own
		return answer{err: err}
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	a := answer{status: res.StatusCode, header: res.Header, body: string(text), err: err}
	if res.Header.Get("Content-Type") == "application/problem+json" {
		if err := json.Unmarshal(text, &a.problem); err != nil {
			r.Fatalf("problem %s: %v", text, err)
		}
		if a.problem.Status != a.status || a.problem.Type == "" || a.problem.Title == "" || a.problem.Detail == "" || a.problem.Code == "" {
			r.Errorf("%s %q: incomplete problem with status %d: %s", path, body, a.status, text)
		}
	}
	return a
}

func (r *rig) sql(query, body string) answer { r.Helper(); return r.post("/v1/sql", query, body) }
