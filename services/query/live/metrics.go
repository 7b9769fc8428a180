package live

import "github.com/prometheus/client_golang/prometheus"

// Why a reader was sent away.
const (
	droppedSlow  = "slow"  // it did not keep up
	droppedStall = "stall" // its connection took nothing
)

type metrics struct {
	readers   prometheus.Gauge
	events    prometheus.Counter
	dropped   *prometheus.CounterVec
	published prometheus.Counter
	numbers   prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		readers: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "millrace_query_live_readers", Help: "Readers of live events and live numbers.",
		}),
		events: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "millrace_query_live_events_total", Help: "Events sent to readers.",
		}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "millrace_query_live_dropped_readers_total", Help: "Readers that were sent away because they were too slow.",
		}, []string{"why"}),
		published: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "millrace_query_live_published_events_total", Help: "Events published for those who listen on NATS.",
		}),
		numbers: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "millrace_query_live_questions_total", Help: "Questions asked for live numbers.",
		}),
	}
	for _, why := range []string{droppedSlow, droppedStall} {
		m.dropped.WithLabelValues(why)
	}
	reg.MustRegister(m.readers, m.events, m.dropped, m.published, m.numbers)
	return m
}
