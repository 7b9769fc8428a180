package reports

import (
	"context"
	_ "embed"
	"math"
	"time"
)

//go:embed sessions.sql
var sqlSessions string

// Sessions are visits: events of one person with no more than the silence between one and the next. A session belongs to the
// interval in which it begins; one that began before the period does not count, and of one that goes on after it, what
// lies in it.
type Sessions struct {
	Interval string        `json:"interval"`
	Buckets  []time.Time   `json:"buckets"`
	Values   []SessionStat `json:"values"` // one for each bucket
	Total    SessionStat   `json:"total"`
}

// SessionStat is the sessions of one interval, or of all.
type SessionStat struct {
	Sessions uint64  `json:"sessions"`
	Users    uint64  `json:"users"`
	Events   uint64  `json:"events"`
	Seconds  float64 `json:"seconds"` // of a session, on average, from its first event to its last
	Bounced  uint64  `json:"bounced"` // sessions of one event
}

// silence is the longest within a session; package users means the same.
const silence = 30 * time.Minute

type sessions struct{ events []string }

func readSessions(in *input) question {
	in.scoped()
	in.sampled()
	q := sessions{events: in.events("only events of this name")}
	in.compared()
	return q
}

// sessionParams are those of a scope that begins one silence earlier.
func (c *call) sessionParams(events []string) params {
	p := c.params(events)
	p.time("from", c.scope.from.Add(-silence))
	p.number("silence", silence.Milliseconds())
	return p
}

func (q sessions) answer(ctx context.Context, c *call) (any, error) {
	rows, err := c.ask(ctx, sqlSessions, c.sessionParams(q.events))
	if err != nil {
		return nil, err
	}
	buckets := c.scope.buckets()
	s := &Sessions{Interval: c.scope.interval, Buckets: buckets, Values: make([]SessionStat, len(buckets))}
	for _, row := range rows.Data {
		var whole uint8
		var bucket int32
		var n, people, events, bounced uint64
		var ms int64
		if err := scan(row, &whole, &bucket, &n, &people, &events, &ms, &bounced); err != nil {
			return nil, err
		}
		if n == 0 {
			continue
		}
		st := SessionStat{
			Sessions: c.scope.people(n), Users: c.scope.people(people), Events: c.scope.people(events),
			Seconds: math.Round(float64(ms)/float64(n)) / 1000, Bounced: c.scope.people(bounced),
		}
		if whole == 1 {
			s.Total = st
			continue
		}
		i, err := index(bucket, len(buckets))
		if err != nil {
			return nil, err
		}
		s.Values[i] = st
	}
	return s, nil
}
