package check

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// scrapeEvery is the scrape interval of deploy/prometheus. Scrapes are taken when the test is ready for one, and written
// down as if they were so far apart, so that nothing has to wait.
const scrapeEvery = 15 * time.Second

// scrapes are the samples of one target, as Prometheus would have stored them.
type scrapes struct {
	began, last time.Time
	series      map[string]*series
	engine      *promql.Engine
	parser      parser.Parser
}

func newScrapes(began time.Time) *scrapes {
	p := parser.NewParser(parser.Options{})
	return &scrapes{
		began: began, series: map[string]*series{}, parser: p,
		engine: promql.NewEngine(promql.EngineOpts{
			MaxSamples: 10_000_000, Timeout: time.Minute, LookbackDelta: 5 * time.Minute, EnableAtModifier: true, EnableNegativeOffset: true, Parser: p,
		}),
	}
}

// take stores the answer of /metrics.
func (s *scrapes) take(body []byte, contentType string) error {
	if s.last.IsZero() {
		s.last = s.began
	} else {
		s.last = s.last.Add(scrapeEvery)
	}
	p, err := textparse.New(body, contentType, labels.NewSymbolTable(), textparse.ParserOptions{})
	if err != nil {
		return err
	}
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if entry != textparse.EntrySeries {
			continue
		}
		_, _, value := p.Series()
		var name labels.Labels
		p.Labels(&name)
		// What Prometheus adds to every series of a target.
		name = labels.NewBuilder(name).Set("job", "millrace").Set("instance", "127.0.0.1:9090").Labels()
		one := s.series[name.String()]
		if one == nil {
			one = &series{name: name}
			s.series[name.String()] = one
		}
		one.samples = append(one.samples, sample{s.last.UnixMilli(), value})
	}
}

type series struct {
	name    labels.Labels
	samples []chunks.Sample
}

// sample is a number at a time in milliseconds.
type sample struct {
	at    int64
	value float64
}

// T implements chunks.Sample.
func (s sample) T() int64 { return s.at }

// ST implements chunks.Sample.
func (sample) ST() int64 { return 0 }

// F implements chunks.Sample.
func (s sample) F() float64 { return s.value }

// H implements chunks.Sample.
func (sample) H() *histogram.Histogram { return nil }

// FH implements chunks.Sample.
func (sample) FH() *histogram.FloatHistogram { return nil }

// Type implements chunks.Sample.
func (sample) Type() chunkenc.ValueType { return chunkenc.ValFloat }

// Copy implements chunks.Sample.
func (s sample) Copy() chunks.Sample { return s }

// nameLabel holds the name of the metric.
const nameLabel = "__name__"

// labelValues are what label_values(metric, label) gives a variable.
func (s *scrapes) labelValues(metric, label string) (found []string) {
	for _, one := range s.series {
		if v := one.name.Get(label); one.name.Get(nameLabel) == metric && v != "" {
			found = append(found, v)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// vector evaluates at the last scrape, matrix over all of them.
func (s *scrapes) vector(ctx context.Context, expr string) (promql.Vector, error) {
	q, err := s.engine.NewInstantQuery(ctx, s, nil, expr, s.last)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	res := q.Exec(ctx)
	if err := errors.Join(append(res.Warnings.AsErrors(), res.Err)...); err != nil {
		return nil, err
	}
	if scalar, err := res.Scalar(); err == nil {
		return promql.Vector{{T: scalar.T, F: scalar.V}}, nil
	}
	v, err := res.Vector()
	return slices.Clone(v), err
}

func (s *scrapes) matrix(ctx context.Context, expr string) (promql.Matrix, error) {
	q, err := s.engine.NewRangeQuery(ctx, s, nil, expr, s.began, s.last, scrapeEvery)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	res := q.Exec(ctx)
	if err := errors.Join(append(res.Warnings.AsErrors(), res.Err)...); err != nil {
		return nil, err
	}
	m, err := res.Matrix()
	var kept promql.Matrix
	for _, line := range m { // the query's memory is used again
		line.Floats = slices.Clone(line.Floats)
		kept = append(kept, line)
	}
	return kept, err
}

// Querier implements storage.Queryable.
func (s *scrapes) Querier(int64, int64) (storage.Querier, error) { return querier{s}, nil }

type querier struct{ *scrapes }

// Select implements storage.Querier.
func (q querier) Select(_ context.Context, _ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	found := &seriesSet{at: -1}
	for _, one := range q.series {
		if !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(one.name.Get(m.Name)) }) {
			found.list = append(found.list, storage.NewListSeries(one.name, one.samples))
		}
	}
	slices.SortFunc(found.list, func(a, b storage.Series) int { return labels.Compare(a.Labels(), b.Labels()) })
	return found
}

// LabelValues implements storage.Querier. PromQL never asks.
func (querier) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, errors.ErrUnsupported
}

// LabelNames implements storage.Querier.
func (querier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, errors.ErrUnsupported
}

// Close implements storage.Querier.
func (querier) Close() error { return nil }

type seriesSet struct {
	list []storage.Series
	at   int
}

// Next implements storage.SeriesSet.
func (s *seriesSet) Next() bool { s.at++; return s.at < len(s.list) }

// At implements storage.SeriesSet.
func (s *seriesSet) At() storage.Series { return s.list[s.at] }

// Err implements storage.SeriesSet.
func (*seriesSet) Err() error { return nil }

// Warnings implements storage.SeriesSet.
func (*seriesSet) Warnings() annotations.Annotations { return nil }
