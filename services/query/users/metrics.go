package users

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	answers *prometheus.CounterVec
	loads   prometheus.Histogram
	steps   *prometheus.HistogramVec
	kept    prometheus.Gauge
	bytes   prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	const prefix = "millrace_query_user_"
	m := &metrics{
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "answers_total", Help: "Answers about users: from memory (kept), read anew (whole), or without something (lacking); and users who were read ahead.",
		}, []string{"outcome"}),
		loads: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: prefix + "load_seconds", Help: "Time to read one user from ClickHouse and the tail.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
		steps: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "millrace_query_ask_step_seconds", Help: "Time of the steps of an ask: until it is stored, and until the tail has it.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}, []string{"step"}),
		kept:  prometheus.NewGauge(prometheus.GaugeOpts{Name: prefix + "kept", Help: "Users that are kept in memory."}),
		bytes: prometheus.NewGauge(prometheus.GaugeOpts{Name: prefix + "kept_bytes", Help: "Bytes that they take, about."}),
	}
	for _, outcome := range []string{"kept", "whole", "lacking", "ahead"} {
		m.answers.WithLabelValues(outcome)
	}
	for _, step := range []string{"store", "tail"} {
		m.steps.WithLabelValues(step)
	}
	reg.MustRegister(m.answers, m.loads, m.steps, m.kept, m.bytes)
	return m
}
