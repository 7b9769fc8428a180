package query

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/millrace/millrace/libs/svc"
	"github.com/millrace/millrace/libs/testkit"
)

// gauge reads one metric without labels.
func gauge(t *testing.T, g prometheus.Metric) float64 {
	t.Helper()
	var m dto.Metric
	if err := g.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetGauge().GetValue() + m.GetCounter().GetValue()
}

func TestStreaming(t *testing.T) {
	r := newRig(t, 1)
	t.Run("memory", func(t *testing.T) { memoryStaysFlat(t, r) })
	t.Run("client leaves", func(t *testing.T) { clientLeaves(t, r) })
	t.Run("limits", func(t *testing.T) { ownLimits(t, r) })
	t.Run("drain", func(t *testing.T) { drains(t, r) })
}

// memoryStaysFlat passes 200 MB on. All that the test's process allocates on the way, freed or not, is a small part of it.
func memoryStaysFlat(t *testing.T, r *rig) {
	const rows, width = 500_000, 400
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	res, err := http.Post(r.base+"/v1/sql?format=RawBLOB", "", strings.NewReader("SELECT repeat('x', 400) FROM numbers(500000)"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	buf := make([]byte, 64<<10)
	n := 0
	for err == nil {
		var got int
		got, err = res.Body.Read(buf)
		n += got
	}
	if !errors.Is(err, io.EOF) || n != rows*width {
		t.Fatalf("%d bytes, want %d: %v", n, rows*width, err)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 40<<20 {
		t.Errorf("%d bytes were allocated to pass %d on", used, n)
	}
}

// clientLeaves checks that ClickHouse stops working for a client that is gone, before and after the first byte. Without
// that it would go on for the 30 s of the profile and then note a timeout.
func clientLeaves(t *testing.T, r *rig) {
	for marker, sql := range map[string]string{
		"before_the_first_byte": "SELECT count() AS before_the_first_byte FROM numbers(1000000000000) WHERE sipHash64(number) = 1",
		"after_it":              "SELECT number AS after_it FROM numbers(1000000000000) SETTINGS max_block_size = 100, max_result_rows = 10000000, max_result_bytes = 4294967296",
	} {
		ended := regexp.MustCompile(`executeQuery: [^\n]*(QUERY_WAS_CANCELLED|NETWORK_ERROR)[^\n]* AS ` + marker + ` FROM`)
		// A client that left before the question reached ClickHouse shows nothing, so another one comes.
		testkit.Eventually(t, marker+": ClickHouse gave up", func() bool {
			leave(t, r, sql)
			text, err := os.ReadFile(r.db.LogFile())
			if err != nil {
				t.Fatal(err)
			}
			return ended.Match(text)
		})
		testkit.Eventually(t, marker+": the place is free again", func() bool { return gauge(t, r.svc.metrics.running) == 0 })
	}
}

// leave asks, reads a little and is gone.
func leave(t *testing.T, r *rig, sql string) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.base+"/v1/sql", strings.NewReader(sql))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return
	}
	defer res.Body.Close()
	_, _ = io.ReadFull(res.Body, make([]byte, 100))
}

func ownLimits(t *testing.T, r *rig) {
	shortBase := r.base
	_, r.base = r.serve(func(c *Config) { c.MaxTime = 100_000_000; c.MaxConcurrent = 1 }) // 0.1 s
	defer func() { r.base = shortBase }()
	a := r.sql("", endless)
	if a.status != http.StatusGatewayTimeout || a.problem.Code != "timeout" {
		t.Errorf("over our time: %d %s", a.status, a.body)
	}
	s, base := r.serve(func(c *Config) { c.MaxConcurrent = 1 })
	r.base = base
	done := make(chan answer, 1)
	go func() { done <- r.sql("", slow) }()
	testkit.Eventually(t, "the first question runs", func() bool { return gauge(t, s.metrics.running) == 1 })
	if a := r.sql("", "SELECT 1"); a.status != http.StatusServiceUnavailable || a.problem.Code != "busy" || a.header.Get("Retry-After") == "" {
		t.Errorf("a second question: %d %s", a.status, a.body)
	}
	if a := <-done; a.status != http.StatusOK {
		t.Errorf("the first question: %d %s", a.status, a.body)
	}
}

// drains stops a service while one question runs and another waits for a receipt.
func drains(t *testing.T, r *rig) {
	cfg := r.config()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- s.Run(ctx) }()
	old := r.base
	defer func() { r.base = old }()
	r.base = "http://" + s.Addr().String()
	testkit.Eventually(t, "the ledger is followed", func() bool { return s.followed() == nil })
	running, waiting := make(chan answer, 1), make(chan answer, 1)
	go func() { running <- r.sql("", slow) }()
	go func() { waiting <- r.sql("after=0:1000&timeout=30s", "SELECT 1") }()
	testkit.Eventually(t, "one runs and one waits", func() bool {
		return gauge(t, s.metrics.running) == 1 && gauge(t, s.metrics.waiting) == 1
	})
	cancel()
	if a := <-running; a.status != http.StatusOK || a.body != "{\"a\":0}\n" {
		t.Errorf("the question that ran: %d %s (%v)", a.status, a.body, a.err)
	}
	if a := <-waiting; a.status != http.StatusServiceUnavailable {
		t.Errorf("the question that waited: %d %s", a.status, a.body)
	}
	if err := <-stopped; err != nil {
		t.Errorf("run: %v", err)
	}
	if _, err := http.Post(r.base+"/v1/sql", "", strings.NewReader("SELECT 1")); err == nil {
		t.Error("the port is still open")
	}
}

func TestPortTaken(t *testing.T) {
	taken := httptest.NewServer(http.NotFoundHandler())
	defer taken.Close()
	cfg := Config{
		Addr: taken.Listener.Addr().String(), Log: slog.New(slog.DiscardHandler), Reg: prometheus.NewRegistry(), Health: svc.NewHealth(),
	}
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), cfg.Addr) || !strings.Contains(err.Error(), "--query-addr") {
		t.Errorf("a taken port: %v", err)
	}
}
