package enricher

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/libs/bus"
)

// metrics of one enricher.
type metrics struct {
	events      *prometheus.CounterVec
	frames      *prometheus.CounterVec
	refused     *prometheus.CounterVec
	bytesIn     *prometheus.CounterVec
	bytesOut    *prometheus.CounterVec
	lost        *prometheus.CounterVec
	republished *prometheus.CounterVec
	fenced      prometheus.Counter
	letters     *prometheus.CounterVec
	lettersLost *prometheus.CounterVec
	retries     *prometheus.CounterVec
	readRetries *prometheus.CounterVec
	takeovers   *prometheus.CounterVec
	shut        *prometheus.CounterVec
	deaths      *prometheus.CounterVec
	leases      *prometheus.CounterVec
	open        *prometheus.GaugeVec
	lag         *prometheus.GaugeVec
	flying      *prometheus.GaugeVec
	full        *prometheus.GaugeVec
	waiting     *prometheus.GaugeVec
	diedAt      *prometheus.GaugeVec
	window      *prometheus.GaugeVec
	ids         *prometheus.GaugeVec
	memory      *prometheus.GaugeVec
	delay       prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "millrace_enricher_" + name, Help: help}, labels)
		reg.MustRegister(c)
		return c
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "millrace_enricher_" + name, Help: help}, labels)
		reg.MustRegister(g)
		return g
	}
	m := &metrics{
		events:      counter("events_total", "Events of answered frames, by what became of them: row, repeat or refused.", "shard", "outcome"),
		frames:      counter("frames_total", "Frames of RAW that were answered and stored.", "shard"),
		refused:     counter("refused_events_total", "Refused events, by the stage and reason that their dead letters have.", "stage", "reason"),
		bytesIn:     counter("raw_bytes_total", "Bytes of the frames read from RAW.", "shard"),
		bytesOut:    counter("enriched_bytes_total", "Bytes of the frames stored in ENRICHED.", "shard"),
		lost:        counter("lost_frames_total", "Frames that were missing in RAW and answered as lost: an alarm.", "shard"),
		republished: counter("republished_total", "Times that frames in flight had to be published again.", "shard"),
		letters:     counter("dead_letters_total", "Dead letters that are in DEAD, repeats of a takeover included.", "shard"),
		lettersLost: counter("lost_dead_letters_total", "Dead letters whose events were gone before they were out: an alarm.", "shard"),
		retries:     counter("dead_letter_retries_total", "Times that dead letters had to wait for DEAD.", "shard"),
		readRetries: counter("read_retries_total", "Times that reading RAW had to be taken up again.", "shard"),
		takeovers:   counter("takeovers_total", "Shards taken over.", "shard"),
		shut:        counter("shut_total", "Times that a shard was found to have to stay shut: an alarm.", "shard"),
		deaths:      counter("deadly_frames_total", "Times that a shard was begun at a frame at which a process had died.", "shard"),
		leases:      counter("leases_total", "What happened to leases of shards.", "event"),
		open:        gauge("shard_open", "1 while this process works on the shard, 0 while it owns it and cannot.", "shard"),
		lag:         gauge("lag_frames", "Frames of RAW that are not answered yet.", "shard"),
		flying:      gauge("unacknowledged_frames", "Frames published and not yet acknowledged.", "shard"),
		full:        gauge("stream_full", "1 while a stream takes no more: an alarm.", "shard", "stream"),
		waiting:     gauge("dead_letter_waiting_frames", "Frames whose dead letters are not out yet.", "shard"),
		diedAt:      gauge("frame_deaths", "Processes that died at the frame at which this one began, one after the other: an alarm from 3.", "shard"),
		window:      gauge("dedup_window_seconds", "For how long a repeat is recognised at present.", "shard"),
		ids:         gauge("dedup_ids", "Ids in the dedup window.", "shard"),
		memory:      gauge("dedup_memory_bytes", "Memory of the dedup window.", "shard"),
		fenced: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "millrace_enricher_fenced_total", Help: "Shards left because another owner had written ENRICHED.",
		}),
		delay: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "millrace_enricher_delay_seconds", Help: "From RAW's timestamp of a frame to its answer being published.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}),
	}
	reg.MustRegister(m.fenced, m.delay)
	for _, event := range bus.LeaseEvents() {
		m.leases.WithLabelValues(event)
	}
	return m
}

// lease counts what happened to one.
func (m *metrics) lease(event string) { m.leases.WithLabelValues(event).Inc() }

// shardMetrics are the metrics of one shard, looked up once.
type shardMetrics struct {
	all                                 *metrics
	rows, repeats, refused              prometheus.Counter
	frames, bytesIn, bytesOut           prometheus.Counter
	lost, republished                   prometheus.Counter
	letters, deadLost, deadRetries      prometheus.Counter
	readRetries, takeovers              prometheus.Counter
	shut, deaths                        prometheus.Counter
	open, lag, flying, window, ids, mem prometheus.Gauge
	enrichedFull, deadFull, deadWaiting prometheus.Gauge
	diedAt                              prometheus.Gauge
}

func (m *metrics) shard(id int) *shardMetrics {
	s := strconv.Itoa(id)
	return &shardMetrics{
		all:  m,
		rows: m.events.WithLabelValues(s, "row"), repeats: m.events.WithLabelValues(s, "repeat"), refused: m.events.WithLabelValues(s, "refused"),
		frames: m.frames.WithLabelValues(s), bytesIn: m.bytesIn.WithLabelValues(s), bytesOut: m.bytesOut.WithLabelValues(s),
		lost: m.lost.WithLabelValues(s), republished: m.republished.WithLabelValues(s),
		letters: m.letters.WithLabelValues(s), deadLost: m.lettersLost.WithLabelValues(s), deadRetries: m.retries.WithLabelValues(s),
		readRetries: m.readRetries.WithLabelValues(s), takeovers: m.takeovers.WithLabelValues(s),
		shut: m.shut.WithLabelValues(s), deaths: m.deaths.WithLabelValues(s),
		open: m.open.WithLabelValues(s), lag: m.lag.WithLabelValues(s), flying: m.flying.WithLabelValues(s),
		window: m.window.WithLabelValues(s), ids: m.ids.WithLabelValues(s), mem: m.memory.WithLabelValues(s),
		enrichedFull: m.full.WithLabelValues(s, "enriched"), deadFull: m.full.WithLabelValues(s, "dead"), deadWaiting: m.waiting.WithLabelValues(s),
		diedAt: m.diedAt.WithLabelValues(s),
	}
}

// in notes a frame that was read and answered.
func (s *shardMetrics) in(f *rawFrame, seen *dedup, flying int) {
	s.bytesIn.Add(float64(len(f.body)))
	s.lag.Set(float64(f.pending + uint64(flying)))
	s.window.Set(seen.effective().Seconds())
	s.ids.Set(float64(seen.ids()))
	s.mem.Set(float64(seen.bytes()))
	s.all.delay.Observe(max(0, time.Since(f.received).Seconds()))
}

// out notes a frame that is stored; flying are still on their way.
func (s *shardMetrics) out(f *flight, flying int) {
	v := f.verdict
	s.frames.Inc()
	s.bytesOut.Add(float64(f.size))
	s.rows.Add(float64(v.Rows))
	s.repeats.Add(float64(v.Repeats))
	s.refused.Add(float64(v.Dead()))
	for i := range v.Refused {
		r := &v.Refused[i]
		s.all.refused.WithLabelValues(r.Stage, reasonLabel(r.Reason)).Add(float64(r.Count + r.MoreCount))
	}
	s.lag.Set(float64(f.pending + uint64(flying)))
}

func (s *shardMetrics) dead(d *bus.DeadLetter) { s.letters.Add(float64(d.Events)) }

// left clears what only an owner can know.
func (s *shardMetrics) left() {
	for _, g := range []prometheus.Gauge{s.open, s.lag, s.flying, s.window, s.ids, s.mem, s.enrichedFull, s.deadFull, s.deadWaiting, s.diedAt} {
		g.Set(0)
	}
}
