package natsdoor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/millrace/millrace/libs/testkit"
	"github.com/millrace/millrace/services/query/problem"
)

// handler answers with what it was asked, and misbehaves where a path says so.
func handler(release <-chan struct{}) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/sql", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprintf(w, "%s %s %s %s", body, r.URL.RawQuery, r.Header.Get("Authorization"), r.Host)
	})
	mux.HandleFunc("GET /v1/users/{id}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s", r.PathValue("id"), r.URL.RawQuery)
	})
	mux.HandleFunc("GET /v1/queries/{name}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "query %s %s", r.PathValue("name"), r.URL.RawQuery)
	})
	mux.HandleFunc("GET /large", func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				<-r.Context().Done() // the work ends too
				return
			}
		}
	})
	mux.HandleFunc("GET /cut", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "half of")
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("GET /fault", func(http.ResponseWriter, *http.Request) { panic("a fault") })
	mux.HandleFunc("GET /refused", func(w http.ResponseWriter, _ *http.Request) {
		problem.New(http.StatusForbidden, problem.Forbidden, "not\nyou").Write(w)
	})
	mux.HandleFunc("GET /slow", func(w http.ResponseWriter, _ *http.Request) {
		<-release
		fmt.Fprint(w, "at last")
	})
	return mux
}

// start runs a door with some endpoints and returns a connection of somebody else, and what ends the slow ones.
func start(t *testing.T, change ...func(*Config)) (*nats.Conn, chan struct{}) {
	t.Helper()
	n := testkit.StartNATS(t, func(o *server.Options) { o.MaxPayload = 1 << 20 })
	release := make(chan struct{})
	cfg := Config{
		NC: n.Connect().Conn(), Group: "millrace.query", Name: "millrace-query", Version: "1.2.3", About: "for the test",
		Handler: handler(release), Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Endpoints: []Endpoint{
			{Name: "sql", Method: http.MethodPost, Path: "/v1/sql", Body: true, About: "SQL"},
			{Name: "users", Method: http.MethodGet, Path: "/v1/users/{id}"},
			{Name: "queries", Method: http.MethodGet, Path: "/v1/queries/{name}", Rest: true},
			{Name: "large", Method: http.MethodGet, Path: "/large"},
			{Name: "cut", Method: http.MethodGet, Path: "/cut"},
			{Name: "fault", Method: http.MethodGet, Path: "/fault"},
			{Name: "refused", Method: http.MethodGet, Path: "/refused"},
			{Name: "slow", Method: http.MethodGet, Path: "/slow"},
		},
	}
	for _, f := range change {
		f(&cfg)
	}
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	nc := n.Connect().Conn()
	testkit.Eventually(t, "the door is open", func() bool {
		_, err := nc.Request("$SRV.PING.millrace-query", nil, time.Second)
		return err == nil
	})
	return nc, release
}

func TestRequests(t *testing.T) {
	nc, _ := start(t)
	for _, tc := range []struct {
		subject, data string
		header        nats.Header
		want          string
		status        string // of an error
	}{
		{subject: "sql", data: "SELECT 1", want: "SELECT 1   localhost"},
		{
			subject: "sql", data: "SELECT {a:UInt8}",
			header: nats.Header{HeaderParameters: {"param_a=1&after=0:1"}, "authorization": {"Bearer k"}, "X-Other": {"no"}, "Host": {"elsewhere"}},
			want:   "SELECT {a:UInt8} after=0%3A1&param_a=1 Bearer k localhost",
		},
		{subject: "sql", data: "x", header: nats.Header{"millrace-parameters": {"after=0:1"}}, want: "x after=0%3A1  localhost"},
		{subject: "sql", data: "x", header: nats.Header{HeaderParameters: {"a=1"}, "MILLRACE-PARAMETERS": {"a=2"}}, status: "400", want: "2 times"},
		{subject: "sql", data: "x", header: nats.Header{HeaderParameters: {"%zz"}}, status: "400", want: HeaderParameters},
		{subject: "users", data: `{"id": "a/b c?d", "n": 5, "some": ["x", 1.50, true]}`, want: "a/b c?d n=5&some=x&some=1.50&some=true"},
		{subject: "users", status: "400", want: "id is missing"},
		{subject: "users", data: `{"id": ".."}`, status: "400", want: "may not be"},
		{subject: "users", data: `{"id": {"a": 1}}`, status: "400", want: "want text"},
		{subject: "users", data: `[1]`, status: "400", want: "JSON object"},
		{subject: "queries.top_pages", data: `{"day": "2026-11-23"}`, want: "query top_pages day=2026-11-23"},
		{subject: "queries.top_pages", data: `{"name": "Bread Baked"}`, want: "query top_pages name=Bread+Baked"},
		{subject: "large", status: "413", want: "larger than a message"},
		{subject: "cut", status: "502", want: "cut short"},
		{subject: "fault", status: "500", want: "has a fault"},
		{subject: "refused", status: "403", want: "not you"},
	} {
		m, err := nc.RequestMsg(&nats.Msg{Subject: "millrace.query." + tc.subject, Data: []byte(tc.data), Header: tc.header}, 10*time.Second)
		if err != nil {
			t.Errorf("%s %s: %v", tc.subject, tc.data, err)
			continue
		}
		if tc.status == "" {
			if string(m.Data) != tc.want || m.Header.Get(micro.ErrorCodeHeader) != "" {
				t.Errorf("%s %s: %q %v, want %q", tc.subject, tc.data, m.Data, m.Header, tc.want)
			}
			continue
		}
		var p problem.Problem
		if err := json.Unmarshal(m.Data, &p); err != nil || fmt.Sprint(p.Status) != tc.status || m.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: %s %v %v", tc.subject, tc.data, m.Data, m.Header, err)
		}
		if m.Header.Get(micro.ErrorCodeHeader) != tc.status || !strings.Contains(m.Header.Get(micro.ErrorHeader), tc.want) {
			t.Errorf("%s %s: %v, want %s %s", tc.subject, tc.data, m.Header, tc.status, tc.want)
		}
	}
}

// TestDiscovery: the door is a NATS service for every tool that knows them.
func TestDiscovery(t *testing.T) {
	nc, _ := start(t)
	ask := func(verb string, v any) {
		t.Helper()
		m, err := nc.Request("$SRV."+verb, nil, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(m.Data, v); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if _, err := nc.Request("millrace.query.sql", []byte("SELECT 1"), 10*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := nc.Request("millrace.query.refused", nil, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	var ping micro.Ping
	var info micro.Info
	var stats micro.Stats
	ask("PING", &ping)
	ask("INFO.millrace-query", &info)
	ask("STATS.millrace-query."+ping.ID, &stats)
	if ping.Type != micro.PingResponseType || ping.Name != "millrace-query" || ping.Version != "1.2.3" || info.ID != ping.ID || stats.ID != ping.ID {
		t.Errorf("%+v %+v %+v", ping, info, stats)
	}
	if len(info.Endpoints) != 8 || info.Endpoints[2].Subject != "millrace.query.queries.*" || info.Endpoints[0].Metadata["http"] != "POST /v1/sql" {
		t.Errorf("%+v", info)
	}
	testkit.Eventually(t, "the statistics say what was done", func() bool {
		ask("STATS.millrace-query", &stats)
		sql, refused := stats.Endpoints[0], stats.Endpoints[6]
		return sql.NumRequests == 3 && sql.NumErrors == 0 && sql.ProcessingTime > 0 && sql.AverageProcessingTime == sql.ProcessingTime/3 &&
			refused.NumErrors == 1 && refused.LastError == "not you"
	})
}

// TestTogether: a request that takes long holds up no other, more than may run are refused at once, and those that run are
// answered when the door closes.
func TestTogether(t *testing.T) {
	nc, release := start(t, func(c *Config) { c.MaxRunning = 2 })
	open := sync.OnceFunc(func() { close(release) })
	t.Cleanup(open)
	slow := make(chan string, 2)
	for range 2 {
		go func() {
			for {
				m, err := nc.Request("millrace.query.slow", nil, time.Minute)
				if err == nil && m.Header.Get(micro.ErrorCodeHeader) == "503" {
					continue // the question below had its place
				}
				if err != nil {
					slow <- err.Error()
					return
				}
				slow <- string(m.Data)
				return
			}
		}()
	}
	testkit.Eventually(t, "both run", func() bool {
		m, err := nc.Request("millrace.query.sql", []byte("x"), 10*time.Second)
		return err == nil && m.Header.Get(micro.ErrorCodeHeader) == "503"
	})
	open()
	for range 2 {
		if got := <-slow; got != "at last" {
			t.Error(got)
		}
	}
}

// TestReplies: an answer goes to an inbox and nowhere else, whatever a request names; nothing is done for one that does.
func TestReplies(t *testing.T) {
	astray := prometheus.NewCounter(prometheus.CounterOpts{Name: "astray"})
	nc, release := start(t, func(c *Config) { c.Astray = astray })
	t.Cleanup(func() { close(release) })
	replies := []string{
		"millrace.ledger.0", "millrace.in.web", "$JS.API.STREAM.PURGE.MILLRACE_IN", "$KV.MILLRACE_LEASES.indexer.shard.0", "$SRV.PING",
		"millrace.query.sql", "elsewhere", "_INBOX",
	}
	subjects := []string{"millrace.query.sql", "millrace.query.refused", "millrace.query.slow", "$SRV.PING", "$SRV.INFO.millrace-query"}
	everything, err := nc.SubscribeSync(">")
	if err != nil {
		t.Fatal(err)
	}
	for _, reply := range replies {
		for _, subject := range subjects {
			if err := nc.PublishMsg(&nats.Msg{Subject: subject, Reply: reply, Data: []byte("SELECT 1")}); err != nil {
				t.Fatal(err)
			}
		}
	}
	sent := len(replies) * len(subjects)
	testkit.Eventually(t, "all are left out", func() bool { return testutil.ToFloat64(astray) == float64(sent) })
	m, err := nc.Request("millrace.query.sql", []byte("SELECT 1"), 10*time.Second)
	if err != nil || !strings.HasPrefix(string(m.Data), "SELECT 1") {
		t.Fatalf("%v, %v", m, err)
	}
	for got := 0; ; got++ {
		m, err := everything.NextMsg(10 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(m.Subject, "_INBOX.") { // the answer to the last one, before which all others would be
			if got != sent+1 {
				t.Errorf("%d messages before the one answer, want the %d requests", got, sent+1)
			}
			return
		}
		if m.Reply == "" {
			t.Errorf("an answer went to %s: %s", m.Subject, m.Data)
		}
	}
}
