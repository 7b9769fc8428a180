package svc

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
)

// readiness shows the checks of a Health as a metric. They are asked when the
// metric is: what /readyz says is then also what Prometheus knows.
type readiness struct {
	health *Health
	desc   *prometheus.Desc
}

// Metric is millrace_readiness_failed for the registry of the process.
func (h *Health) Metric() prometheus.Collector {
	return &readiness{health: h, desc: prometheus.NewDesc("millrace_readiness_failed",
		"1 while this check of /readyz fails.", []string{"check"}, nil)}
}

// Describe implements prometheus.Collector.
func (r *readiness) Describe(ch chan<- *prometheus.Desc) { ch <- r.desc }

// Collect implements prometheus.Collector. Checks of one name are one series:
// it fails if one of them does.
func (r *readiness) Collect(ch chan<- prometheus.Metric) {
	results, _ := r.health.Check(context.Background())
	failed := map[string]float64{}
	for _, c := range results {
		value := 0.0
		if c.Err != nil {
			value = 1
		}
		failed[c.Name] = max(failed[c.Name], value)
	}
	for name, value := range failed {
		ch <- prometheus.MustNewConstMetric(r.desc, prometheus.GaugeValue, value, name)
	}
}
