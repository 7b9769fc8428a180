package svc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func summary(h *Health) string {
	results, ready := h.Check(context.Background())
	var b strings.Builder
	for _, r := range results {
		fmt.Fprintf(&b, "%s=%v ", r.Name, r.Err)
	}
	return fmt.Sprintf("%sready=%v", b.String(), ready)
}

func TestHealth(t *testing.T) {
	h := NewHealth()
	check := func(want string) {
		t.Helper()
		if got := summary(h); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	check("process=starting ready=false")
	h.Started()
	check("process=<nil> ready=true")

	var down error
	h.For("indexer").Register("clickhouse", func(context.Context) error { return down })
	h.For("enricher").Register("nats", func(context.Context) error { return nil })
	check("process=<nil> enricher/nats=<nil> indexer/clickhouse=<nil> ready=true")
	down = errors.New("refused")
	check("process=<nil> enricher/nats=<nil> indexer/clickhouse=refused ready=false")
	down = nil
	h.Draining()
	h.Started() // comes too late
	check("process=draining enricher/nats=<nil> indexer/clickhouse=<nil> ready=false")
}

func TestReadinessIsAMetric(t *testing.T) {
	h, reg := NewHealth(), prometheus.NewRegistry()
	reg.MustRegister(h.Metric())
	h.Started()
	var down error
	for range 2 { // of one name, as of two services in one process
		h.For("mill").Register("wheel", func(context.Context) error { return nil })
		h.For("mill").Register("wheel", func(context.Context) error { return down })
	}
	failed := func() (names string) {
		t.Helper()
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range families[0].GetMetric() {
			if m.GetGauge().GetValue() == 1 {
				names += m.GetLabel()[0].GetValue()
			}
		}
		return names
	}
	if got := failed(); got != "" {
		t.Errorf("%s failed", got)
	}
	down = errors.New("dry")
	if got := failed(); got != "mill/wheel" {
		t.Errorf("%q failed, want mill/wheel", got)
	}
}

func TestHealthDoesNotWaitForOneThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHealth()
		h.Started()
		release := make(chan struct{})
		h.Register("deaf", func(context.Context) error { <-release; return nil })
		h.Register("listening", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		h.Register("quick", func(context.Context) error { return nil })

		begin := time.Now()
		got := summary(h)
		if took := time.Since(begin); took != checkTimeout {
			t.Errorf("took %s, want %s", took, checkTimeout)
		}
		for _, want := range []string{"deaf=no answer in time", "quick=<nil>", "ready=false"} {
			if !strings.Contains(got, want) {
				t.Errorf("got %s, want %s in it", got, want)
			}
		}
		if strings.Contains(got, "listening=<nil>") {
			t.Errorf("got %s: the check that was cut off passed", got)
		}
		close(release)
	})
}
