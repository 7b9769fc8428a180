package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/libs/localdb"
)

// verdict is what a run was: counted, not argued.
type verdict struct {
	Seed     uint64        `json:"seed"`
	Took     time.Duration `json:"took_ns"`
	Accepted int           `json:"accepted"` // distinct events that producers were told are stored
	Rows     int           `json:"rows"`
	Dead     int           `json:"dead"`
	Repeats  int           `json:"repeats"` // events that were acknowledged more than once
	Lost     int           `json:"lost"`
	Doubled  int           `json:"doubled"`
	Strange  int           `json:"strange"` // rows or letters that nobody sent
	// Copies are further letters of invalid events: the door cannot tell a
	// repeat of what it cannot read, so each request has a letter of its own.
	Copies int `json:"copies"`
	// Once, Refused and Unsure are of the producer that sends nothing twice:
	// rows, events that the door refused, and those whose fate it never heard.
	Once    int        `json:"once"`
	Refused int        `json:"refused"`
	Unsure  int        `json:"unsure"`
	Faults  []*tally   `json:"faults"`
	Wrong   []string   `json:"wrong,omitempty"`
	Memory  memoryOver `json:"memory_mb"`
	trace   string
}

// OK says that nothing is wrong.
func (v *verdict) OK() bool { return len(v.Wrong) == 0 && v.Lost+v.Doubled+v.Strange == 0 }

func (v *verdict) wrong(format string, args ...any) {
	v.Wrong = append(v.Wrong, fmt.Sprintf(format, args...))
}

// judge counts. trouble is why the run ended early, nil if it did not.
func (l *lab) judge(ctx context.Context, trouble error) *verdict {
	v := &verdict{Seed: l.Seed}
	if trouble != nil {
		v.wrong("%v", trouble)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 4*time.Minute)
	defer cancel()
	for _, p := range l.producers {
		v.Accepted += int(p.accepted.Load())
		v.Repeats += int(p.repeats.Load())
	}
	if err := l.settled(ctx); err != nil {
		v.wrong("%v", err)
	}
	first, err := l.compare(ctx, v)
	if err != nil {
		v.wrong("count: %v", err)
	}
	if err := l.projections(ctx, v); err != nil {
		v.wrong("compare the projection with the table: %v", err)
	}
	l.verify(ctx, v)
	if err := l.ledger(ctx, v); err != nil {
		v.wrong("read the ledger: %v", err)
	}
	l.quiet(ctx, v)
	if first != nil {
		v.trace = l.trace(ctx, first)
	}
	v.Took = time.Since(l.began)
	for _, f := range l.counts {
		v.Faults = append(v.Faults, f)
	}
	slices.SortFunc(v.Faults, func(a, b *tally) int { return strings.Compare(a.Fault, b.Fault) })
	return v
}

// settled waits until as many rows and letters are there as must be, or until
// nothing moves any more.
func (l *lab) settled(ctx context.Context) error {
	var rows, letters int
	for _, p := range l.producers {
		for _, s := range p.acknowledged() {
			for n := s.first; n < s.end; n++ {
				if lettered(n, s.during) {
					letters++
				} else {
					rows++
				}
			}
		}
	}
	var have, dead uint64
	var err error
	for moved := time.Now(); time.Since(moved) < 30*time.Second; {
		var h, o, d uint64
		if h, err = l.db.number(ctx, "SELECT count() FROM events WHERE properties['p'] != ?", once); err == nil {
			o, err = l.db.number(ctx, "SELECT count() FROM events WHERE properties['p'] = ?", once)
		}
		if err == nil {
			d, err = l.db.number(ctx, "SELECT uniqExact(JSONExtractString(original, 'messageId')) FROM dead_letters")
		}
		if err == nil && h >= uint64(rows) && d >= uint64(letters) && o >= uint64(l.once.count(taken)) {
			return nil
		}
		if h > have || d > dead {
			have, dead, moved = max(h, have), max(d, dead), time.Now()
		}
		if !pause(ctx, 200*time.Millisecond) {
			break
		}
	}
	return errors.Join(fmt.Errorf("nothing moves any more with %d rows of %d and %d dead letters of %d", have, rows, dead, letters), err)
}

// suspect is the first event that is not where it belongs.
type suspect struct {
	p     *producer
	n     int
	times int // as a row; as a letter, if it belongs there
}

// compare goes through all numbers of all producers. What is acknowledged is
// there once: as a row, or as a dead letter.
func (l *lab) compare(ctx context.Context, v *verdict) (first *suspect, err error) {
	conn, err := l.db.open(localdb.ReaderUser)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }() // all has been answered
	known := map[string]bool{}
	for _, p := range l.producers {
		known[p.name] = true
		sent := int(p.accepted.Load())
		asRow, asLetter := make([]int, sent), make([]int, sent)
		rows, err := conn.Query(ctx, "SELECT event_id, count() FROM events WHERE properties['p'] = ? GROUP BY event_id", p.name)
		if err == nil {
			err = tallyUp(rows, asRow, v)
		}
		if err != nil {
			return first, err
		}
		letters, err := conn.Query(ctx, `SELECT JSONExtractString(original, 'messageId') AS id, count() FROM dead_letters
			WHERE startsWith(id, ?) GROUP BY id`, p.name+"-")
		if err == nil {
			err = tallyUp(letters, asLetter, v)
		}
		if err != nil {
			return first, err
		}
		for _, s := range p.stretches {
			t := l.counts[s.during]
			for n := s.first; n < s.end; n++ {
				right, wrong := asRow[n], asLetter[n]
				if lettered(n, s.during) {
					right, wrong = wrong, right
				}
				t.Events++
				t.Rows += asRow[n]
				v.Rows += asRow[n]
				if invalid(n) && right > 1 {
					v.Copies += right - 1
					right = 1
					asLetter[n] = 1
				}
				t.Dead += asLetter[n]
				v.Dead += asLetter[n]
				v.Strange += wrong
				if right == 0 {
					t.Lost++
					v.Lost++
				} else {
					t.Doubled += right - 1
					v.Doubled += right - 1
				}
				if first == nil && (right != 1 || wrong != 0) {
					first = &suspect{p, n, right}
				}
			}
		}
	}
	if err := l.compareOnce(ctx, v); err != nil {
		return first, err
	}
	all, err := l.db.number(ctx, "SELECT count() FROM events")
	if err == nil && all != uint64(v.Rows+v.Once) {
		v.wrong("table events has %d rows, the producers know %d", all, v.Rows+v.Once)
	}
	return first, err
}

type pairs interface {
	Next() bool
	Scan(...any) error
	Err() error
	Close() error
}

// tallyUp adds counts of ids `producer-number` to their numbers.
func tallyUp(rows pairs, at []int, v *verdict) error {
	defer func() { _ = rows.Close() }() // Err has told
	for rows.Next() {
		var id string
		var count uint64
		if err := rows.Scan(&id, &count); err != nil {
			return err
		}
		_, text, _ := strings.Cut(id, "-")
		n, err := strconv.Atoi(text)
		if err != nil || n >= len(at) {
			v.Strange += int(count)
			v.wrong("nobody was told that event %q is accepted, and there are %d of it", id, count)
			continue
		}
		at[n] += int(count)
	}
	return rows.Err()
}

// projections compares an aggregate that ClickHouse keeps beside the rows with
// the rows.
func (l *lab) projections(ctx context.Context, v *verdict) error {
	conn, err := l.db.open(localdb.MigratorUser) // the reader may change no setting
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // all has been answered
	// Merges build projections, and not every part has been in one.
	if err := conn.Exec(ctx, "ALTER TABLE events MATERIALIZE PROJECTION chaos SETTINGS mutations_sync = 1"); err != nil {
		return err
	}
	var sums [2][3]uint64
	for use, must := range []string{"optimize_use_projections = 0", "force_optimize_projection = 1"} {
		err := conn.QueryRow(ctx, fmt.Sprintf(`SELECT sum(c), sum(i), sum(s) FROM (SELECT event, user_id, count() AS c, sum(_idx) AS i, sum(_seq) AS s
			FROM events GROUP BY event, user_id) SETTINGS %s`, must)).Scan(&sums[use][0], &sums[use][1], &sums[use][2])
		if err != nil {
			return err
		}
	}
	if sums[0] != sums[1] {
		v.wrong("the projection counts %v, the rows make %v", sums[1], sums[0])
	}
	return nil
}

// verify asks Millrace itself.
func (l *lab) verify(ctx context.Context, v *verdict) {
	type report struct {
		OK                            bool
		Accepted, Rows, Dead, Repeats uint64
		Findings                      []json.RawMessage
	}
	var last struct{ Report report }
	var text []byte
	err := again(ctx, 2*time.Minute, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+l.queries[0]+"/v1/verify?wait=30s", nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }() // it has been read
		if text, err = io.ReadAll(resp.Body); err != nil {
			return err
		}
		lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
		text = lines[len(lines)-1]
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", resp.Status, text)
		}
		return json.Unmarshal(text, &last)
	})
	r := last.Report
	switch {
	case err != nil:
		v.wrong("verify does not answer: %v", err)
	case !r.OK, r.Rows != uint64(v.Rows+v.Once), r.Dead != uint64(v.Dead+v.Copies), r.Accepted != r.Rows+r.Dead+r.Repeats:
		v.wrong("verify does not agree: %s", text)
	}
}

// quiet ends all services, which may be the last to send something, and counts
// once more. What the audit had to bring back was lost, though it is there now.
func (l *lab) quiet(ctx context.Context, v *verdict) {
	var g errgroup.Group
	for _, p := range l.all() {
		g.Go(func() error { return p.terminate(ctx) })
	}
	if err := g.Wait(); err != nil {
		v.wrong("%v", err)
	}
	rows, err := l.db.number(ctx, "SELECT count() FROM events")
	if err != nil {
		v.wrong("count once more: %v", err)
	} else if rows != uint64(v.Rows+v.Once) {
		v.wrong("%d rows when all was quiet, %d before", rows, v.Rows+v.Once)
	}
	if n := l.audits() - l.forgiven; n > 0 {
		v.wrong("%d audits had to bring rows back: the indexers' logs have %q", n, lostRows)
	}
}

// lostRows is what an indexer says when an audit finds that rows are missing.
const lostRows = "ClickHouse lost rows that it had acknowledged"

// audits counts those that had something to bring back.
func (l *lab) audits() (n int) {
	for _, p := range l.services["indexer"] {
		n += strings.Count(p.tail(wholeLog), lostRows)
	}
	return n
}
