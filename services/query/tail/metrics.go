package tail

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	frames   prometheus.Counter
	rows     prometheus.Counter
	lost     prometheus.Counter
	reopened prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, t *Tail) *metrics {
	const prefix = "millrace_query_tail_"
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: prefix + name, Help: help})
		reg.MustRegister(c)
		return c
	}
	m := &metrics{
		frames:   counter("frames_total", "Frames of ENRICHED that came."),
		rows:     counter("rows_total", "Rows of these."),
		lost:     counter("lost_frames_total", "Frames that were let go before they were proven, because the tail was over its budget."),
		reopened: counter("restarts_total", "Times that following a shard began again after an error."),
	}
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: prefix + "bytes", Help: "Bytes that the frames in memory take.",
	}, func() float64 {
		t.mu.Lock()
		defer t.mu.Unlock()
		return float64(t.used + t.opened)
	}))
	return m
}
