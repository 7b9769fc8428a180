package query

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/services/query/access"
)

type metrics struct {
	requests  *prometheus.CounterVec
	seconds   *prometheus.HistogramVec
	running   prometheus.Gauge
	waiting   prometheus.Gauge
	bytes     prometheus.Counter
	cut       prometheus.Counter
	refused   *prometheus.CounterVec
	astray    prometheus.Counter
	waits     prometheus.Histogram
	proven    *prometheus.GaugeVec
	lag       *prometheus.GaugeVec
	reopened  prometheus.Counter
	findings  prometheus.Counter
	verifying *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "millrace_query_requests_total", Help: "Requests by endpoint and HTTP status.",
		}, []string{"endpoint", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "millrace_query_duration_seconds", Help: "Time from the request to the end of its answer.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 10),
		}, []string{"endpoint"}),
		running: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "millrace_query_running_queries", Help: "Questions that ClickHouse works on.",
		}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "millrace_query_waiting_queries", Help: "Questions that wait for the rows of a receipt.",
		}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "millrace_query_result_bytes_total", Help: "Bytes of results passed on.",
		}),
		cut: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "millrace_query_cut_results_total", Help: "Results that failed after their first byte.",
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "millrace_query_over_quota_total", Help: "Questions that were refused because the key had used up its quota, by the key's name.",
		}, []string{"key"}),
		astray: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "millrace_query_astray_replies_total", Help: "Requests over NATS that were left out because their reply subject is no inbox.",
		}),
		waits: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "millrace_query_after_wait_seconds", Help: "Time that questions waited for the rows of a receipt.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 12),
		}),
		proven: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "millrace_query_proven_frames", Help: "The watermark: the frame up to which rows are proven to be in ClickHouse.",
		}, []string{"shard"}),
		lag: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "millrace_query_shard_lag_frames", Help: "Frames that a stage of a shard has before it, as the ends of the streams were seen last.",
		}, []string{"shard", "stage"}),
		reopened: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "millrace_query_ledger_restarts_total", Help: "Times that following the ledger began again after an error.",
		}),
		findings: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "millrace_query_verify_findings_total", Help: "What verify found missing, doubled or inconsistent.",
		}),
		verifying: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "millrace_query_verify_runs_total", Help: "Runs of verify by outcome.",
		}, []string{"outcome"}),
	}
	reg.MustRegister(m.requests, m.seconds, m.running, m.waiting, m.bytes, m.cut, m.refused, m.astray, m.waits, m.proven, m.lag, m.reopened, m.findings, m.verifying)
	m.refused.WithLabelValues(access.Everything().Name()) // 0: the metric is there before anybody is refused
	for _, outcome := range []string{"ok", "findings"} {
		m.verifying.WithLabelValues(outcome)
	}
	return m
}
