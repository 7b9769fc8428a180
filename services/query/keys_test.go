package query

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/svc"
	"github.com/millrace/millrace/libs/testkit"
)

const (
	listenerKey = "  - {name: listener, key: the-key-of-the-listener, scopes: [live, sql], sources: [\"*\"], quota: {concurrent: 2}}\n"
	analystKey  = "  - {name: analyst, key: the-key-of-the-analyst, scopes: [sql], sources: [\"*\"]}\n"
)

// stream opens a stream of server-sent events as the listener and returns what reads the next event's name and data.
func (r *rig) stream(path string, values url.Values) (status int, next func() (name, data string)) {
	r.Helper()
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, r.base+path+"?"+values.Encode(), nil)
	r.must(err)
	req.Header.Set("Authorization", "Bearer the-key-of-the-listener")
	res, err := http.DefaultClient.Do(req)
	r.must(err)
	r.Cleanup(func() { _ = res.Body.Close() })
	in := bufio.NewReader(res.Body)
	return res.StatusCode, func() (name, data string) {
		r.Helper()
		for {
			line, err := in.ReadString('\n')
			r.must(err)
			switch field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": "); field {
			case "event":
				name = value
			case "data":
				return name, value
			}
		}
	}
}

// TestKeysShare: no key takes the places of the others, a live reader is one of what its key may do at once, and its stream
// ends when the key is taken away.
func TestKeysShare(t *testing.T) {
	r := newRig(t, 1)
	r.twoSources()
	file := filepath.Join(t.TempDir(), "access.yaml")
	r.must(os.WriteFile(file, []byte("keys:\n"+listenerKey+analystKey), 0o600))
	r.svc, r.base = r.serve(func(c *Config) { c.AccessFile, c.MaxConcurrent = file, 4 })

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		req, _ := http.NewRequestWithContext(ctx, http.MethodPost, r.base+"/v1/sql", strings.NewReader(endless))
		with("analyst", http.MethodPost)(req)
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			_, err = res.Body.Read(make([]byte, 1))
			_ = res.Body.Close()
		}
		done <- err
	}()
	testkit.Eventually(t, "the analyst's question runs", func() bool { return gauge(t, r.svc.metrics.running) == 1 })
	if a := r.post("/v1/sql", "", "SELECT 1", with("analyst", "POST")); a.status != http.StatusTooManyRequests || !strings.Contains(a.body, "for other keys") {
		t.Errorf("more than a quarter of the places: %d %s", a.status, a.body)
	}
	if a := r.post("/v1/sql", "", "SELECT 1", with("listener", "POST")); a.status != http.StatusOK {
		t.Errorf("another key beside it: %d %s", a.status, a.body)
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("a question without an end has one")
	}

	status, events := r.stream("/v1/live", nil)
	if status != http.StatusOK {
		t.Fatal(status)
	}
	status, numbers := r.stream("/v1/live/sql", url.Values{"sql": {"SELECT count() AS n FROM new_events"}})
	if status != http.StatusOK {
		t.Fatal(status)
	}
	if name, _ := numbers(); name != "answer" { // its own questions are not a third thing at once
		t.Errorf("live numbers begin with %s", name)
	}
	if status, _ := r.stream("/v1/live", nil); status != http.StatusTooManyRequests {
		t.Errorf("a third reader of a key for two: %d", status)
	}
	if a := r.post("/v1/sql", "", "SELECT 1", with("listener", "POST")); a.status != http.StatusTooManyRequests {
		t.Errorf("a question beside two readers: %d %s", a.status, a.body)
	}
	r.must(os.WriteFile(file, []byte("keys:\n"+analystKey), 0o600))
	for what, next := range map[string]func() (string, string){"events": events, "numbers": numbers} {
		name, data := next()
		var end struct{ Code, Detail string }
		if err := json.Unmarshal([]byte(data), &end); err != nil || name != "end" || end.Code != "key" || !strings.Contains(end.Detail, "taken away") {
			t.Errorf("%s: %s %s, %v", what, name, data, err)
		}
	}
	if status, _ := r.stream("/v1/live", nil); status != http.StatusUnauthorized {
		t.Errorf("a key that was taken away: %d", status)
	}
}

// lines are what was logged.
type lines struct {
	mu  sync.Mutex
	all bytes.Buffer // guarded by mu
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

func (l *lines) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.all.String(), text)
}

// TestNATSDoorWithoutKeys: without keys it is open where NATS is on this machine only, as the HTTP port is.
func TestNATSDoorWithoutKeys(t *testing.T) {
	n := testkit.StartNATS(t)
	js := n.Connect()
	inst := n.Provision(js, 1)
	elsewhere := strings.Replace(n.URL, "127.0.0.1", "0.0.0.0", 1) // which is here too, but it does not say so
	for what, tc := range map[string]struct {
		change func(*Config)
		code   string // of the answer; "" is no door
		logs   string
	}{
		"on this machine":         {func(*Config) {}, "503", "requests are taken over NATS"},
		"elsewhere":               {func(c *Config) { c.Bus.URL = elsewhere }, "", "--api-keys or --access-file"},
		"elsewhere, with a key":   {func(c *Config) { c.Bus.URL, c.Keys = elsewhere, Keys{"0123456789abcdef"} }, "401", "requests are taken over NATS"},
		"elsewhere, and so meant": {func(c *Config) { c.Bus.URL, c.OpenNATSDoor = elsewhere, true }, "503", "requests are taken over NATS"},
	} {
		var log lines
		cfg := Config{
			Bus: bus.Config{URL: n.URL}, Addr: "127.0.0.1:0", Log: slog.New(slog.NewTextHandler(&log, nil)), Reg: prometheus.NewRegistry(), Health: svc.NewHealth(),
			ClickHouse: ClickHouse{URL: "http://127.0.0.1:1"}, // nobody is there
		}
		tc.change(&cfg)
		s, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		testkit.Eventually(t, what+": the log says how it is", func() bool { return log.has(tc.logs) })
		testkit.Eventually(t, what+": there is a door, or none", func() bool { // its subscriptions may be on their way yet
			m, err := js.Conn().Request(inst.Names.QueryGroup()+".sql", []byte("SELECT 1"), 30*time.Second)
			if errors.Is(err, nats.ErrNoResponders) {
				return tc.code == ""
			}
			r := ""
			if err == nil {
				r = m.Header.Get(micro.ErrorCodeHeader)
			}
			if r == "" || r != tc.code {
				t.Fatalf("%s: answered with %q, %v, want %q", what, r, err, tc.code)
			}
			return true
		})
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}
