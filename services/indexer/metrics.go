package indexer

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/failpoint"
)

// metrics of one indexer. Every repair, fence, retry, orphan and alarm is
// counted.
type metrics struct {
	events    *prometheus.CounterVec
	blocks    prometheus.Counter
	blockRows prometheus.Histogram
	commit    prometheus.Histogram
	wait      prometheus.Histogram
	takeovers prometheus.Counter
	fenced    prometheus.Counter
	retries   *prometheus.CounterVec
	repairs   prometheus.Counter
	orphans   prometheus.Counter
	doubled   prometheus.Counter
	poisoned  prometheus.Counter
	trimmed   prometheus.Counter
	letters   prometheus.Counter
	leases    *prometheus.CounterVec
	bisects   prometheus.Counter
	rewinds   prometheus.Counter
	audits    *prometheus.CounterVec
	// Rows that an audit found missing, brought back, and could not.
	auditMissing, auditInserted, auditGone prometheus.Counter

	open   *prometheus.GaugeVec
	proven *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "millrace_indexer_" + name, Help: help})
		reg.MustRegister(c)
		return c
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "millrace_indexer_" + name, Help: help, Buckets: buckets})
		reg.MustRegister(h)
		return h
	}
	m := &metrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "millrace_indexer_events_total", Help: "Events of proven frames, by what became of them.",
		}, []string{"outcome"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "millrace_indexer_retries_total", Help: "Steps that failed and were tried again.",
		}, []string{"step"}),
		leases: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "millrace_indexer_leases_total", Help: "What happened to leases of sinks.",
		}, []string{"event"}),
		audits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "millrace_indexer_audit_runs_total", Help: "Audits of what was proven lately, after ClickHouse was started or a sink taken over.",
		}, []string{"outcome"}),
		auditMissing:  counter("audit_missing_rows_total", "Rows that ClickHouse had acknowledged and an audit did not find: an alarm."),
		auditInserted: counter("audit_inserted_rows_total", "Of them, rows that were inserted again."),
		auditGone:     counter("audit_gone_rows_total", "Of them, rows whose frames ENRICHED no longer holds: an alarm."),
		open: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "millrace_indexer_shard_open", Help: "1 while this process works on the shard.",
		}, []string{"shard"}),
		proven: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "millrace_indexer_shard_proven_sequence", Help: "The last frame whose rows are proven to be in ClickHouse.",
		}, []string{"shard"}),
		blocks:    counter("blocks_total", "Blocks proven to be in ClickHouse."),
		blockRows: histogram("block_rows", "Rows of a block.", prometheus.ExponentialBuckets(1, 4, 10)),
		commit:    histogram("commit_seconds", "From a complete block to its proof.", prometheus.ExponentialBuckets(0.002, 2, 14)),
		wait:      histogram("collect_seconds", "From a block's first frame to its being complete.", prometheus.ExponentialBuckets(0.002, 2, 12)),
		takeovers: counter("takeovers_total", "Sinks taken over."),
		fenced:    counter("fenced_total", "Writes refused because another owner had written the ledger."),
		repairs:   counter("repairs_total", "Blocks whose rows were missing after doubt and inserted again."),
		orphans:   counter("orphan_tokens_total", "Tokens that ClickHouse knew without having their rows."),
		doubled:   counter("doubled_blocks_total", "Blocks of which ClickHouse holds too many rows: an alarm."),
		poisoned:  counter("refused_rows_total", "Rows that ClickHouse refused for their content."),
		bisects:   counter("bisected_blocks_total", "Blocks that were halved to find the rows that ClickHouse refuses."),
		rewinds:   counter("rewinds_total", "Times that frames of a shard had to be read again."),
		trimmed:   counter("trimmed_frames_total", "Frames purged from the streams after proof."),
		letters:   counter("dead_letters_total", "Dead letters brought into ClickHouse."),
	}
	reg.MustRegister(m.events, m.retries, m.leases, m.audits, m.open, m.proven)
	// A series that begins with its first increment has no rate: the fault that
	// made it would not be seen.
	for _, step := range []string{"insert", "ledger", "dead_letters", "trim", "shard"} {
		m.retries.WithLabelValues(step)
	}
	for _, outcome := range []string{"ok", "repaired", "gone", "doubled", "failed"} {
		m.audits.WithLabelValues(outcome)
	}
	for _, outcome := range []string{"row", "repeat", "dead"} {
		m.events.WithLabelValues(outcome)
	}
	for _, event := range bus.LeaseEvents() {
		m.leases.WithLabelValues(event)
	}
	return m
}

func (m *metrics) observe(b *batch, commit time.Duration) {
	sum := bus.Totals{}
	for i := range b.parts {
		sum = sum.Plus(b.parts[i].totals)
	}
	m.events.WithLabelValues("row").Add(float64(sum.Rows))
	m.events.WithLabelValues("repeat").Add(float64(sum.Repeats))
	m.events.WithLabelValues("dead").Add(float64(sum.Dead))
	m.blocks.Inc()
	m.blockRows.Observe(float64(sum.Rows))
	m.commit.Observe(commit.Seconds())
	m.wait.Observe(max(0, (failpoint.Since(b.started) - commit).Seconds()))
}

// lease counts what happened to one.
func (m *metrics) lease(event string) { m.leases.WithLabelValues(event).Inc() }
