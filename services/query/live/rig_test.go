package live

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/testkit"
	"github.com/millrace/millrace/services/query/access"
	"github.com/millrace/millrace/services/query/problem"
	"github.com/millrace/millrace/services/query/tail"
)

// rig is a live stream over the NATS of one test, behind a port that lets everybody ask with the key that Key names.
type rig struct {
	*testing.T
	nats     *testkit.NATS
	js       jetstream.JetStream
	inst     bus.Installation
	tail     *tail.Tail
	live     *Live
	base     string
	stopping chan struct{}
	key      *access.Key
	proven   [2]atomic.Uint64
}

// newRig lets change alter the configuration, or the log, before anything runs.
func newRig(t *testing.T, change ...func(*rig, *Config)) *rig {
	t.Helper()
	r := &rig{T: t, nats: testkit.StartNATS(t), stopping: make(chan struct{}), key: access.Everything()}
	r.js = r.nats.Connect()
	r.inst = r.nats.Provision(r.js, 2)
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	nc, js, err := (&bus.Config{URL: r.nats.URL}).Connect("live", log)
	if err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	r.tail = tail.New(tail.Config{
		JS: js, Names: r.inst.Names, Proven: func(shard int) uint64 { return r.proven[shard].Load() }, Log: log, Reg: reg,
	})
	cfg := Config{
		NC: nc, JS: js, Names: r.inst.Names, Tail: r.tail, Log: log, Reg: reg, Stopping: r.stopping,
		Installation: func(context.Context) (bus.Installation, error) { return r.inst, nil },
	}
	for _, f := range change {
		f(r, &cfg)
	}
	if r.live, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 2)
	go func() { done <- r.tail.Run(ctx) }()
	go func() { done <- r.live.Run(ctx) }()
	mux := http.NewServeMux()
	for path, serve := range map[string]func(http.ResponseWriter, *http.Request) error{"/v1/live": r.live.ServeEvents, "/v1/live/sql": r.live.ServeNumbers} {
		mux.HandleFunc(path, func(w http.ResponseWriter, req *http.Request) {
			if err := serve(w, req.WithContext(access.With(req.Context(), r.key))); err != nil {
				var p *problem.Problem
				if !errors.As(err, &p) {
					p = problem.New(http.StatusServiceUnavailable, problem.Unavailable, err.Error())
				}
				p.Write(w)
			}
		})
	}
	server := httptest.NewServer(mux)
	r.base = server.URL
	t.Cleanup(func() {
		r.stop()
		server.Close()
		cancel()
		for range 2 {
			if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		nc.Close()
	})
	return r
}

// stop tells readers to go.
func (r *rig) stop() {
	select {
	case <-r.stopping:
	default:
		close(r.stopping)
	}
}

// publish appends a frame with the events named, of the source web, and says where.
func (r *rig) publish(shard int, names ...string) uint64 {
	r.Helper()
	return r.publishOf("web", shard, names...)
}

func (r *rig) publishOf(source string, shard int, names ...string) uint64 {
	r.Helper()
	var rows []testkit.Row
	for _, n := range names {
		rows = append(rows, testkit.Row{Source: source, Type: "track", Event: n, UserID: "u"})
	}
	return r.nats.PublishEnriched(r.js, shard, rows...)
}

// message is one server-sent event.
type message struct {
	id, name, data string
}

// stream is a reader's connection.
type stream struct {
	*rig
	res    *http.Response
	in     *bufio.Reader
	lastID string
	cancel context.CancelFunc
}

// open connects; last is the Last-Event-ID.
func (r *rig) open(path string, values url.Values, last string) *stream {
	r.Helper()
	ctx, cancel := context.WithCancel(r.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.base+path+"?"+values.Encode(), nil)
	if err != nil {
		r.Fatal(err)
	}
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.Fatal(err)
	}
	s := &stream{rig: r, res: res, in: bufio.NewReader(res.Body), cancel: cancel}
	r.Cleanup(func() { cancel(); _ = res.Body.Close() })
	return s
}

// next is the next event; a block that is none only moves the id.
func (s *stream) next() (message, error) {
	var m message
	for {
		line, err := s.in.ReadString('\n')
		if err != nil {
			return m, err
		}
		line = strings.TrimSuffix(line, "\n")
		field, value, _ := strings.Cut(line, ": ")
		switch {
		case line == "" && m.id != "" && m.data == "":
			s.lastID, m = m.id, message{}
		case line == "" && m.data != "":
			if m.id != "" {
				s.lastID = m.id
			}
			return m, nil
		case field == "id":
			m.id = value
		case field == "event":
			m.name = value
		case field == "data":
			m.data = value
		}
	}
}

// want reads events and compares their names; the order is that of each shard, which the names begin with.
func (s *stream) want(names ...string) {
	s.Helper()
	var got []string
	for range names {
		m, err := s.next()
		if err != nil {
			s.Fatalf("after %q: %v", got, err)
		}
		var e struct{ Event string }
		if err := json.Unmarshal([]byte(m.data), &e); err != nil || m.name != "" {
			s.Fatalf("%+v: %v", m, err)
		}
		got = append(got, e.Event)
	}
	for _, shard := range []string{"0", "1"} {
		of := func(list []string) (some []string) {
			for _, n := range list {
				if strings.HasPrefix(n, shard) {
					some = append(some, n)
				}
			}
			return some
		}
		if !slices.Equal(of(got), of(names)) {
			s.Fatalf("got %q, want %q", got, names)
		}
	}
}
