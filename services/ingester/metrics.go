package ingester

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event"
	"github.com/millrace/millrace/libs/failpoint"
	"github.com/millrace/millrace/libs/svc"
)

// statuses are all that the door answers, so that the label is a closed set.
var statuses = []int{200, 204, 400, 401, 403, 404, 405, 408, 413, 429, 503}

// turnedAway are the codes of answers that tell a sender to come again.
var turnedAway = []string{
	"shard_full", "busy", "too_many_refused", "rate_limited", "fair_share", "not_admitted", "not_acknowledged", "shard_closed", "starting", "stopping",
}

// The steps that are tried again.
const (
	stepPull    = "pull"    // from IN
	stepTrim    = "trim"    // of IN
	stepMeasure = "measure" // of a shard's RAW
	stepLook    = "look"    // at IN
)

type metrics struct {
	lanes         *svc.Lanes // the shards, and the NATS door as svc.LaneIn
	requests      map[tongue]map[int]prometheus.Counter
	turnedAway    map[string]prometheus.Counter
	retries       map[string]prometheus.Counter
	retried       map[tongue]prometheus.Counter
	held          prometheus.Gauge
	accepted      map[string]prometheus.Counter
	refused       map[string]map[event.Reason]prometheus.Counter
	messages      map[string]prometheus.Counter
	frames        prometheus.Counter
	frameEvents   prometheus.Histogram
	frameBytes    prometheus.Histogram
	publish       prometheus.Histogram
	republished   prometheus.Counter
	framesGivenUp prometheus.Counter
	astray        prometheus.Counter
	shardsClosed  prometheus.Gauge
	connections   prometheus.Gauge

	connectionsRefused prometheus.Counter
	shardFill          *prometheus.GaugeVec
}

// What became of a message of the NATS door.
const (
	messageStored  = "stored"
	messageDelayed = "delayed"
)

func newMetrics(reg prometheus.Registerer, inFlight *budget) *metrics {
	const prefix = "millrace_ingester_"
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: prefix + name, Help: help})
		reg.MustRegister(c)
		return c
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: help}, labels)
		reg.MustRegister(c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: prefix + name, Help: help})
		reg.MustRegister(g)
		return g
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: prefix + name, Help: help, Buckets: buckets})
		reg.MustRegister(h)
		return h
	}
	m := &metrics{
		lanes:              svc.NewLanes("ingester", reg, bus.StuckReasons()...),
		requests:           map[tongue]map[int]prometheus.Counter{},
		turnedAway:         map[string]prometheus.Counter{},
		retries:            map[string]prometheus.Counter{},
		retried:            map[tongue]prometheus.Counter{},
		held:               gauge("held_requests", "HTTP requests that wait for JetStream."),
		accepted:           map[string]prometheus.Counter{},
		refused:            map[string]map[event.Reason]prometheus.Counter{},
		messages:           map[string]prometheus.Counter{},
		frames:             counter("frames_total", "RAW frames that JetStream acknowledged."),
		frameEvents:        histogram("frame_events", "Events in a RAW frame.", prometheus.ExponentialBuckets(1, 2, 12)),
		frameBytes:         histogram("frame_bytes", "Bytes of a RAW frame's body.", prometheus.ExponentialBuckets(256, 4, 8)),
		publish:            histogram("publish_seconds", "From a frame's first publication to its acknowledgement.", prometheus.ExponentialBuckets(0.0001, 2.5, 13)),
		republished:        counter("frames_republished_total", "Publications of a RAW frame after the first."),
		framesGivenUp:      counter("frames_given_up_total", "RAW frames that were not acknowledged within the hold time."),
		astray:             counter("astray_replies_total", "Requests over NATS that were left out because their reply subject is no inbox."),
		shardsClosed:       gauge("shards_closed", "Shards that are closed because their log went back."),
		connections:        gauge("connections", "Connections of the HTTP door."),
		connectionsRefused: counter("connections_refused_total", "Connections that were closed at once because there were too many, altogether or of one address."),
		shardFill: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: prefix + "shard_fill_ratio", Help: "Used share of a shard's RAW stream; from 0.85 the door refuses.",
		}, []string{"shard"}),
	}
	reg.MustRegister(m.shardFill, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: prefix + "in_flight_bytes", Help: "Bytes of requests and frames in memory.",
	}, func() float64 { return float64(inFlight.used.Load()) }))

	requests := counters("requests_total", "HTTP requests by whose SDK speaks on their path and the status of their answer.", "dialect", "status")
	retried := counters("retried_requests_total", "HTTP requests that an SDK marked as a repetition (X-Retry-Count).", "dialect")
	for _, to := range tongues {
		m.requests[to] = map[int]prometheus.Counter{}
		for _, status := range statuses {
			m.requests[to][status] = requests.WithLabelValues(string(to), strconv.Itoa(status))
		}
		m.retried[to] = retried.WithLabelValues(string(to))
	}
	away := counters("turned_away_total", "HTTP requests that were told to come again, by the code of their answer.", "code")
	for _, code := range turnedAway {
		m.turnedAway[code] = away.WithLabelValues(code)
	}
	retries := counters("retries_total", "Steps that failed and were tried again.", "step")
	for _, step := range []string{stepPull, stepTrim, stepMeasure, stepLook} {
		m.retries[step] = retries.WithLabelValues(step)
	}
	messages := counters("messages_total", "Deliveries of the NATS door by what became of them.", "outcome")
	for _, outcome := range []string{messageStored, messageDelayed} {
		m.messages[outcome] = messages.WithLabelValues(outcome)
	}
	accepted := counters("events_accepted_total", "Events that are in RAW as good ones.", "door")
	refused := counters("events_refused_total", "Events that are in RAW as refused.", "door", "reason")
	for _, door := range []string{doorHTTP, doorNATS, doorAsk} {
		m.accepted[door] = accepted.WithLabelValues(door)
		m.refused[door] = map[event.Reason]prometheus.Counter{}
		for _, reason := range event.Reasons() {
			m.refused[door][reason] = refused.WithLabelValues(door, string(reason))
		}
	}
	return m
}

// answered counts one HTTP request. code is that of a problem, "" of none.
func (m *metrics) answered(to tongue, status int, code string) {
	if c := m.turnedAway[code]; c != nil {
		c.Inc()
	}
	if c := m.requests[to][status]; c != nil {
		c.Inc()
	}
}

// stored counts the events of a request that is in RAW.
func (m *metrics) stored(door string, accepted int, refused map[event.Reason]int) {
	m.accepted[door].Add(float64(accepted))
	for reason, n := range refused {
		if c := m.refused[door][reason]; c != nil {
			c.Add(float64(n))
		}
	}
}

func (m *metrics) published(p *outgoing) {
	m.frames.Inc()
	m.frameEvents.Observe(float64(p.block.Rows()))
	m.frameBytes.Observe(float64(len(p.body)))
	m.publish.Observe(max(0, failpoint.Since(p.sent).Seconds()))
}

func (m *metrics) fill(shard int, share float64) {
	m.shardFill.WithLabelValues(strconv.Itoa(shard)).Set(share)
}
