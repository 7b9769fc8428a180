package live

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/services/query/access"
	"github.com/millrace/millrace/services/query/tail"
)

// maxChunk is how many bytes are written at once, about.
const maxChunk = 32 << 10

// reading is one request to GET /v1/live. It belongs to the request's goroutine.
type reading struct {
	l    *Live
	wish wish // with where the reader is
	sub  *tail.Subscription
	out  *sse

	// live: it has reached the end once, last at atEnd. From then on it has to keep up.
	live  bool
	atEnd time.Time
	debt  time.Duration // of time that it worked, see pace
}

// End is the last event of a stream that ends before its reader wants it to.
type End struct {
	Code   string `json:"code"` // slow, stopping, again, key, unavailable; of live numbers also those of a problem
	Detail string `json:"detail"`
	After  string `json:"after"` // where to go on: Last-Event-ID or ?after=
}

// Gap says what a reader missed because the log no longer holds it.
type Gap struct {
	Shard  int    `json:"shard"`
	First  uint64 `json:"first"`
	Last   uint64 `json:"last"`
	Detail string `json:"detail"`
}

// errStopping ends the context of a reader when the service stops.
var errStopping = errors.New("the query service stops; another one, or the next, goes on")

// errGone ends the context of a reader whose key is no longer what it was.
var errGone = errors.New("the key of this reader was taken away, or may something else now: connect again with a key that may")

// errLeft ends a reader that has been told why.
var errLeft = errors.New("the reader was sent away")

// maxFailures is how often in a row the log may not be readable before a reader is told to come back.
const maxFailures = 5

func (rd *reading) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Ended by cancel.
	go func() {
		select {
		case <-rd.l.cfg.Stopping:
			cancel(errStopping)
		case <-access.From(ctx).Gone():
			cancel(errGone)
		case <-ctx.Done():
		}
	}()
	began := time.Now()
	rd.out.id(rd.wish.at)
	failures := 0
	for {
		caughtUp := rd.sub.Behind() == 0
		if caughtUp {
			rd.live, rd.atEnd = true, time.Now()
		}
		// A filter that lets little through may be far behind and have nothing to say; where it is, it does say.
		quiet := time.Since(rd.out.last) > rd.l.cfg.Beat
		if quiet && len(rd.out.buf) == 0 {
			rd.out.id(rd.wish.at)
		}
		if caughtUp || quiet {
			if err := rd.out.flush(); err != nil {
				return err
			}
		}
		f, err := rd.wait(ctx)
		missed, isGap := errors.AsType[*tail.GapError](err)
		switch {
		case ctx.Err() != nil:
			switch why := context.Cause(ctx); {
			case errors.Is(why, errStopping):
				return rd.leave("stopping", why.Error())
			case errors.Is(why, errGone):
				return rd.leave("key", why.Error())
			}
			return ctx.Err()
		case isGap:
			rd.miss(missed)
		case errors.Is(err, context.DeadlineExceeded): // nothing came
		case err != nil:
			if failures++; failures == maxFailures {
				return rd.leave("unavailable", err.Error())
			}
			if err := rest(ctx, time.Duration(failures)*200*time.Millisecond); err != nil {
				continue
			}
		default:
			failures = 0
			if err := rd.give(ctx, f); errors.Is(err, errLeft) || err != nil && ctx.Err() == nil {
				return err
			}
		}
		switch {
		case rd.live && time.Since(rd.atEnd) > rd.l.cfg.Slow && rd.sub.Behind() > 0:
			rd.l.metrics.dropped.WithLabelValues(droppedSlow).Inc()
			return rd.leave("slow", fmt.Sprintf("for %s events came faster than they were read here, or than the filter let them through; "+
				"a narrower filter helps, and a new request goes on where this one ends", rd.l.cfg.Slow))
		case time.Since(began) > rd.l.cfg.Lifetime:
			return rd.leave("again", "the stream is old: connect again")
		}
	}
}

// wait is the next frame; its context ends in time for the next sign of life.
func (rd *reading) wait(ctx context.Context) (*tail.Frame, error) {
	ctx, cancel := context.WithTimeout(ctx, rd.l.cfg.Beat/3)
	defer cancel()
	return rd.sub.Next(ctx)
}

// leave says why the stream ends and returns errLeft, or why it could not say so.
func (rd *reading) leave(code, detail string) error {
	rd.out.event("end", End{Code: code, Detail: detail, After: rd.wish.at.String()})
	if err := rd.out.flush(); err != nil {
		return err
	}
	return errLeft
}

// miss says what the log no longer has and goes on behind it.
func (rd *reading) miss(g *tail.GapError) {
	rd.out.event("gap", Gap{Shard: g.Shard, First: g.From, Last: g.To, Detail: fmt.Sprintf(
		"frames %d to %d of shard %d are no longer in the log; what they held is in ClickHouse", g.From, g.To, g.Shard)})
	rd.wish.at[g.Shard] = mark{seq: g.To, idx: whole}
}

// give writes what matches of a frame and moves the position behind it.
func (rd *reading) give(ctx context.Context, f *tail.Frame) error {
	began := time.Now()
	view, err := f.View()
	if err != nil {
		return rd.leave("unavailable", err.Error())
	}
	shard, at := f.Place.Shard, &rd.wish.at[f.Place.Shard]
	seq, from := at.next()
	if seq != f.Place.Seq {
		from = 0
	}
	n, rows := 0, view.Rows()
	for r := int(from); r < rows; r++ {
		x := row{view, r}
		if !rd.sees(x) || !rd.wish.filter.match(x) {
			continue
		}
		*at = mark{seq: f.Place.Seq, idx: uint32(r)}
		if r == rows-1 {
			at.idx = whole
		}
		n++
		out := append(rd.wish.at.append(append(rd.out.buf, "id: "...)), "\ndata: "...)
		out = appendEvent(out, shard, f.Place.Seq, x)
		rd.out.buf = append(out, '\n', '\n')
		if len(rd.out.buf) >= maxChunk {
			rd.debt += time.Since(began)
			if err := rd.out.flush(); err != nil {
				return err
			}
			began = time.Now()
		}
	}
	*at = mark{seq: f.Place.Seq, idx: whole}
	rd.l.metrics.events.Add(float64(n))
	rd.debt += time.Since(began)
	return rd.pace(ctx)
}

func (rd *reading) sees(x row) bool {
	if rd.wish.sources == nil {
		return true
	}
	source := x.v.Str(frame.ColSource, x.r)
	return slices.ContainsFunc(rd.wish.sources, func(s string) bool { return s == string(source) })
}

// pace makes a reader rest three times as long as it worked, so that no filter, and no reader of the whole log, takes more
// than a quarter of a core from those who ask for answers.
func (rd *reading) pace(ctx context.Context) error {
	if rd.debt < 2*time.Millisecond {
		return nil
	}
	if err := rd.out.flush(); err != nil { // what is ready does not rest
		return err
	}
	debt := min(3*rd.debt, time.Second)
	rd.debt = 0
	return rest(ctx, debt)
}

func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
