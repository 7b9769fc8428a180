package reports

import (
	"context"
	_ "embed"
	"fmt"
	"math"
	"strings"
	"time"
)

//go:embed timeline.sql
var sqlTimeline string

// Timeline is one person's events, the newest first.
type Timeline struct {
	Events []TimelineEvent `json:"events"`
	// Before is what to give as before to read on; empty at the end.
	Before string `json:"before,omitempty"`
}

// TimelineEvent is one of them.
type TimelineEvent struct {
	Timestamp   time.Time         `json:"timestamp"`
	Name        string            `json:"name"` // the event's, or its type
	Type        string            `json:"type"`
	Source      string            `json:"source"`
	ID          string            `json:"id"`
	UserID      string            `json:"user_id,omitempty"`
	AnonymousID string            `json:"anonymous_id,omitempty"`
	URL         string            `json:"url,omitempty"`
	Title       string            `json:"title,omitempty"`
	Properties  map[string]string `json:"properties"` // as text; nested ones are JSON
	Receipt     string            `json:"receipt"`
}

// place is where an event is among a person's.
type place struct {
	at    time.Time
	shard uint16
	seq   uint64
	idx   uint32
}

func (p place) String() string {
	return fmt.Sprintf("%s/%d:%d:%d", p.at.UTC().Format("2006-01-02T15:04:05.000Z"), p.shard, p.seq, p.idx)
}

func parsePlace(text string) (p place, err error) {
	at, rest, _ := strings.Cut(text, "/")
	if p.at, err = time.Parse("2006-01-02T15:04:05.000Z", at); err != nil {
		return p, err
	}
	var more string
	if n, _ := fmt.Sscanf(rest+" ", "%d:%d:%d%s", &p.shard, &p.seq, &p.idx, &more); n != 3 {
		return p, fmt.Errorf("no place: %q", rest)
	}
	return p, nil
}

type timeline struct {
	user   string
	events []string
	before place
	limit  int
}

func readTimeline(in *input) question {
	in.scoped()
	q := timeline{
		user:   in.required("user", "the user's id, or the anonymous id of somebody without one"),
		events: in.events("only events of this name"),
		limit:  in.integer("limit", 100, 1, 1000, "how many events"),
		before: place{in.scope.to, math.MaxUint16, math.MaxUint64, math.MaxUint32},
	}
	if text := in.text("before", "", "read on: the before of an answer"); text != "" {
		p, err := parsePlace(text)
		if err != nil {
			in.refuse("before %q: want the before of an answer", text)
		}
		q.before = p
	}
	return q
}

func (q timeline) answer(ctx context.Context, c *call) (any, error) {
	p := c.params(q.events)
	p.text("person", q.user)
	p.time("before", q.before.at)
	p.number("before_shard", int64(q.before.shard))
	p.raw("before_seq", fmt.Sprint(q.before.seq))
	p.number("before_idx", int64(q.before.idx))
	p.number("limit", int64(q.limit))
	rows, err := c.ask(ctx, sqlTimeline, p)
	if err != nil {
		return nil, err
	}
	t := &Timeline{Events: []TimelineEvent{}}
	for _, row := range rows.Data {
		var e TimelineEvent
		var w place
		var at int64
		if err := scan(row, &at, &w.shard, &w.seq, &w.idx, &e.Source, &e.Type, &e.Name, &e.ID, &e.UserID, &e.AnonymousID,
			&e.URL, &e.Title, &e.Properties); err != nil {
			return nil, err
		}
		if e.Name == "" {
			e.Name = e.Type
		}
		w.at = time.UnixMilli(at).UTC()
		e.Timestamp, e.Receipt = w.at, fmt.Sprintf("%d:%d", w.shard, w.seq)
		t.Events = append(t.Events, e)
		t.Before = w.String()
	}
	if len(t.Events) < q.limit {
		t.Before = ""
	}
	return t, nil
}
