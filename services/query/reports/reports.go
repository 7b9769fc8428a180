package reports

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/services/query/problem"
)

// Database runs one statement as the reader that the asker may be.
type Database interface {
	// Read returns the whole answer in the named format of ClickHouse, of at most limit bytes. params are values of
	// {name:Type} as ClickHouse's HTTP interface takes them, without the prefix param_.
	Read(ctx context.Context, sql, format string, params map[string]string, limit int64) ([]byte, error)
}

// Asker is who asks.
type Asker struct {
	DB Database
	// Sources are those whose events DB shows, nil for all of them. Askers who see the same share cached answers.
	Sources []string
}

// sees names what the asker sees among all that askers see; a source has no comma.
func (a Asker) sees() string {
	if a.Sources == nil {
		return "*"
	}
	return strings.Join(slices.Sorted(slices.Values(a.Sources)), ",")
}

// admit refuses a source that the asker does not see: an empty answer would look like one in which nothing happened. A
// question that names none is about all that are seen; naming them lets the key of the table prune.
func (a Asker) admit(s *scope) error {
	if a.Sources == nil {
		return nil
	}
	for _, source := range s.sources {
		if !slices.Contains(a.Sources, source) {
			return problem.New(http.StatusForbidden, problem.Forbidden,
				fmt.Sprintf("the source %q is not one that the key sees: %s", source, strings.Join(a.Sources, ", ")))
		}
	}
	if len(s.sources) == 0 {
		s.sources = a.Sources
	}
	return nil
}

// Config of the reports. Await and Watermark are required.
type Config struct {
	// Await returns when the rows of a receipt are in ClickHouse.
	Await func(ctx context.Context, receipt string, patience time.Duration) error
	// Watermark is the receipt of the last frames that are proven to be in ClickHouse.
	Watermark func() string
	Now       func() time.Time // time.Now unless a test says otherwise
}

// Reports answers questions. Its methods may be called by many goroutines at once.
type Reports struct {
	cfg   Config
	cache *cache
	known *known
	list  []report
}

// report is one of them: what it is called, says and takes.
type report struct {
	name, about string
	read        func(*input) question
}

// question is a report with its parameters. answer returns the Result of the period.
type question interface {
	answer(ctx context.Context, c *call) (any, error)
}

// New returns all reports.
func New(cfg Config) (*Reports, error) {
	if cfg.Await == nil || cfg.Watermark == nil {
		return nil, errors.New("reports: Await and Watermark are required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Reports{cfg: cfg, cache: newCache(), known: newKnown(), list: []report{
		{"trend", "How something changes over time", readTrend},
		{"top", "The values that come up most", readTop},
		{"funnel", "How many people come how far through steps", readFunnel},
		{"retention", "How many people come back", readRetention},
		{"paths", "What people do one after the other", readPaths},
		{"sessions", "Visits: how many, how long, how many with one event only", readSessions},
		{"stickiness", "On how many days people are active", readStickiness},
		{"revenue", "What orders bring in", readRevenue},
		{"timeline", "One person's events", readTimeline},
	}}, nil
}

// Description is what a report says of itself, for documents and for tools.
type Description struct {
	Name   string  `json:"name"`
	About  string  `json:"about"`
	Params []Param `json:"params"`
}

// Describe lists the reports.
func (r *Reports) Describe() (list []Description) {
	for _, rep := range r.list {
		in := newInput(url.Values{}, r.cfg.Now())
		rep.read(in)
		in.asked()
		list = append(list, Description{rep.name, rep.about, in.params})
	}
	return list
}

// Answer is a report's answer. Result and the previous one are of the report's own type, such as [Trend].
type Answer struct {
	Report string `json:"report"`
	// Question has the parameters as they were understood, those that were not given too.
	Question map[string]any  `json:"question"`
	From     time.Time       `json:"from"`
	To       time.Time       `json:"to"` // exclusive
	Result   json.RawMessage `json:"result"`
	Previous *Previous       `json:"previous,omitempty"`
	// Notes say what may be wrong with the question, such as a source without any events.
	Notes []string `json:"notes,omitempty"`
	// Sample is the share of people that were looked at, when not all were. Counts and sums are scaled up to all.
	Sample float64 `json:"sample,omitempty"`
	// AsOf is when ClickHouse was asked, and Watermark the receipt that was proven then: every row of it is counted.
	AsOf      time.Time `json:"as_of"`
	Watermark string    `json:"watermark"`
	// Age is for how many seconds the answer had been in the cache; absent when it was computed for this asker.
	Age        float64    `json:"age_seconds,omitempty"`
	Statistics Statistics `json:"statistics"`
}

// Previous is the same for the period before.
type Previous struct {
	From   time.Time       `json:"from"`
	To     time.Time       `json:"to"`
	Result json.RawMessage `json:"result"`
}

// Statistics is what ClickHouse did for an answer.
type Statistics struct {
	Statements int     `json:"statements"`
	Seconds    float64 `json:"seconds"` // ClickHouse's own, of all statements
	Rows       uint64  `json:"rows_read"`
	Bytes      uint64  `json:"bytes_read"`
}

// Answer answers a question. The error is a [problem.Problem] when the question is wrong, else that of Await or of the
// asker's database.
func (r *Reports) Answer(ctx context.Context, who Asker, name string, values url.Values) (*Answer, error) {
	i := slices.IndexFunc(r.list, func(rep report) bool { return rep.name == name })
	if i < 0 {
		var names []string
		for _, rep := range r.list {
			names = append(names, rep.name)
		}
		return nil, problem.New(http.StatusNotFound, problem.NotFound,
			fmt.Sprintf("there is no report %q: there are %s", name, strings.Join(names, ", ")))
	}
	in := newInput(values, r.cfg.Now())
	q := r.list[i].read(in)
	how := in.asked()
	if err := in.err(); err != nil {
		return nil, err
	}
	named := in.scope.sources
	if err := who.admit(&in.scope); err != nil {
		return nil, err
	}
	key := who.sees() + "\x00" + name + "\x00" + in.canonical()
	// Who names a receipt has just written something, and an older answer does not have it.
	if how.after == "" && how.maxAge > 0 {
		if a := r.cache.get(key, how.maxAge, r.cfg.Now()); a != nil {
			a.Question = in.understood() // the same but for how fresh each of them wanted it
			return a, nil
		}
	}
	if err := r.cfg.Await(ctx, how.after, how.timeout); err != nil {
		return nil, err
	}
	c := &call{db: who.DB, scope: in.scope}
	a := &Answer{
		Report: name, Question: in.understood(), From: in.scope.from, To: in.scope.to,
		AsOf: r.cfg.Now().UTC().Truncate(time.Millisecond), Watermark: r.cfg.Watermark(),
	}
	if in.scope.sample < wholeSample {
		a.Sample = float64(in.scope.sample) / wholeSample
	}
	var err error
	var nothingOf []string
	if a.Result, nothingOf, err = c.result(ctx, q); err != nil {
		return nil, fmt.Errorf("report %s: %w", name, err)
	}
	if in.compare {
		c.scope.period = c.scope.previous()
		p := &Previous{From: c.scope.from, To: c.scope.to}
		if p.Result, _, err = c.result(ctx, q); err != nil {
			return nil, fmt.Errorf("report %s, the previous period: %w", name, err)
		}
		a.Previous = p
	}
	if a.Notes, err = r.notes(ctx, c, who, named, nothingOf); err != nil {
		return nil, fmt.Errorf("report %s: %w", name, err)
	}
	a.Statistics = c.stats
	if how.maxAge > 0 { // who takes no older answer keeps none for others, nor pushes theirs out
		r.cache.put(key, a)
	}
	return a, nil
}

// result is the answer as JSON, and the names of events of which it has none.
func (c *call) result(ctx context.Context, q question) (text json.RawMessage, nothingOf []string, err error) {
	result, err := q.answer(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	if text, err = json.Marshal(result); err != nil {
		return nil, nil, fmt.Errorf("write the result: %w", err)
	}
	return text, unseen(q, result), nil
}
