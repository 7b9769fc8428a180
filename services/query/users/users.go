package users

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/svc"
	"github.com/millrace/millrace/services/query/problem"
	"github.com/millrace/millrace/services/query/reader"
	"github.com/millrace/millrace/services/query/tail"
)

// Config of Users. Tail, Reader, NC, Log and Reg are required.
type Config struct {
	Tail   *tail.Tail
	Reader *reader.Client
	// Bound ends a question's context when ClickHouse has gone, and refuses it while ClickHouse is away.
	Bound func(context.Context) (context.Context, context.CancelFunc, error)
	NC    *nats.Conn // to the ingester's door
	Names bus.Names
	// Memory is what users who are active or were asked about lately may take, in bytes; 0 is 128 MiB.
	Memory int64
	// OverQuota counts questions that were refused for the quota of their key, by its name; nil: nothing does.
	OverQuota *prometheus.CounterVec
	// TrustedProxies are those whose X-Forwarded-For says whose ask it is.
	TrustedProxies svc.Networks
	// HeadTime is how long ClickHouse may take for one user; 0 is 5 s. After it the answer does without.
	HeadTime time.Duration

	Log *slog.Logger
	Reg prometheus.Registerer
}

const (
	defaultMemory   = 128 << 20
	defaultHeadTime = 5 * time.Second
	// maxRounds bounds how often further ids of a user are looked for.
	maxRounds = 8
)

// Users answers about users. Its methods may be called from any goroutine.
type Users struct {
	cfg Config
	m   *metrics

	mu    sync.Mutex // guards all below, and the states in them; taken under the tail's lock, never around it
	cache cache
}

// New makes the tail tell it of every frame, so the tail must not run yet.
func New(cfg Config) *Users {
	if cfg.Memory == 0 {
		cfg.Memory = defaultMemory
	}
	if cfg.HeadTime == 0 {
		cfg.HeadTime = defaultHeadTime
	}
	if cfg.Bound == nil {
		cfg.Bound = func(ctx context.Context) (context.Context, context.CancelFunc, error) {
			ctx, cancel := context.WithCancel(ctx)
			return ctx, cancel, nil
		}
	}
	u := &Users{cfg: cfg, m: newMetrics(cfg.Reg)}
	u.cache = newCache(cfg.Memory, u.m)
	cfg.Tail.SetHook((*hook)(u))
	return u
}

// Options of a context.
type Options struct {
	Recent int         // events that are shown; 0 is 20
	After  bus.Receipt // what the answer must include; the tail was awaited
	Own    *own        // the event of an ask

	asked bus.Receipt // what the request named
}

// recent is how many events are shown.
func (o *Options) recent() int { return cmp.Or(o.Recent, defaultRecent) }

// own is the event of an ask.
type own struct {
	id      string
	receipt string
	places  bus.Receipt
}

// Context answers about a user from what has come so far; see [Users.About].
func (u *Users) Context(ctx context.Context, user User, o Options) (*Context, error) {
	select {
	case <-u.cfg.Tail.Ready():
	default:
		return nil, u.unavailable(u.cfg.Tail.Err())
	}
	if a := u.kept(user, &o); a != nil {
		u.m.answers.WithLabelValues("kept").Inc()
		return a, nil
	}
	a, err := u.load(ctx, user, &o)
	if err != nil {
		return nil, err
	}
	outcome := "whole"
	if len(a.Lacks) > 0 {
		outcome = "lacking"
	}
	u.m.answers.WithLabelValues(outcome).Inc()
	return a, nil
}

func (u *Users) unavailable(err error) error {
	return problem.New(http.StatusServiceUnavailable, problem.Unavailable, fmt.Sprintf("the enriched frames cannot be followed now: %v", err))
}

// kept answers from memory, or not.
func (u *Users) kept(user User, o *Options) *Context {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	s := u.cache.states[user]
	if s == nil || s.over(now.UnixMilli()) || !covers(u.cache.covered(s), o.After) || !s.showsEnough(o.recent()) {
		return nil
	}
	if o.Own != nil {
		if _, found := s.find(o.Own.id); !found {
			return nil // a repeat of an old one; loading looks further
		}
	}
	u.cache.touch(s, now)
	return u.cache.answer(s, now, u.cache.covered(s), o, nil)
}

func covers(at []uint64, r bus.Receipt) bool {
	for _, p := range r.Places {
		if p.Shard >= len(at) || at[p.Shard] < p.Seq {
			return false
		}
	}
	return true
}

// load reads a user's context from ClickHouse and the tail, keeps it if nothing lacks, and answers from it.
func (u *Users) load(ctx context.Context, user User, o *Options) (*Context, error) {
	began := time.Now()
	defer func() { u.m.loads.Observe(time.Since(began).Seconds()) }()
	pin := u.cfg.Tail.Pin()
	defer pin.Release()
	marks := pin.Marks()
	s := newState(user, time.Now().UnixMilli())
	s.shows = max(s.shows, o.recent())
	x := newIDs(user)
	for round := 0; ; round++ {
		if round == maxRounds {
			s.lacks = append(s.lacks, Lack{What: LackIDs, Why: "the user's ids lead on and on to others"})
			x.take()
		}
		// The ids that the tail knows of go along, so that one question is enough more often.
		if x.isFresh() {
			if _, _, err := u.joinTail(pin, x); err != nil {
				return nil, err
			}
		}
		if who := x.take(); len(who.Users)+len(who.Anonymous) > 0 {
			if err := u.ask(ctx, s, x, who, marks); err != nil {
				return nil, err
			}
			continue
		}
		events, after, err := u.joinTail(pin, x)
		if err != nil {
			return nil, err
		}
		if x.isFresh() && round < maxRounds {
			continue
		}
		found := u.findOwn(ctx, s, x.known, o, marks, events)
		a, err := u.finish(pin, s, x, events, after, o, found, round < maxRounds)
		if a != nil || err != nil {
			return a, err
		}
	}
}

// joinTail reads the user's events in the tail and joins the ids that they name. It returns copies: a row keeps its whole frame
// unpacked for as long as somebody has it, and of a thousand users who are read ahead each has rows in many frames.
func (u *Users) joinTail(pin *tail.Pin, x *ids) (events []entry, after []uint64, err error) {
	for {
		known := len(x.known.Users) + len(x.known.Anonymous)
		rows, after, err := pin.Rows(x.known)
		if err != nil {
			return nil, nil, fmt.Errorf("read the tail: %w", err)
		}
		for _, r := range rows {
			x.joinRow(r)
		}
		if len(x.known.Users)+len(x.known.Anonymous) == known {
			for _, r := range rows {
				events = append(events, eventOfRow(r))
			}
			return events, after, nil
		}
	}
}

// ask asks ClickHouse. What it cannot say lacks; only the end of the request itself is an error.
func (u *Users) ask(ctx context.Context, s *state, x *ids, who tail.Who, marks []uint64) error {
	if s.lacking(LackHistory) {
		return nil
	}
	head, cancel := context.WithTimeoutCause(ctx, u.cfg.HeadTime, fmt.Errorf("%w: more than %s", errSlow, u.cfg.HeadTime))
	defer cancel()
	err := u.head(head, s, x, who, marks)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	if !errors.Is(err, reader.ErrUnavailable) {
		u.cfg.Log.Warn("ClickHouse could not say what a user has done; the answer does without", "err", err)
	}
	s.lacks = append(s.lacks, Lack{What: LackHistory, Why: u.why(err), To: receiptOf(marks)})
	return nil
}

// why is what the asker is told of an error of ClickHouse's. Its own words are for the log: they name tables and settings,
// and a write key may be public.
func (u *Users) why(err error) string {
	switch {
	case errors.Is(err, reader.ErrUnavailable):
		return "ClickHouse cannot be reached now"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, errSlow):
		return fmt.Sprintf("ClickHouse did not answer within %s", u.cfg.HeadTime)
	}
	return "ClickHouse could not say; the log of the query service has its words"
}

// errSlow ends a question about a user that takes too long.
var errSlow = errors.New("ClickHouse takes too long")

// findOwn looks further for the event of an ask: one that ClickHouse has already and that is not among the newest, or a
// repeat of an old one.
func (u *Users) findOwn(ctx context.Context, s *state, who tail.Who, o *Options, marks []uint64, events []entry) *shown {
	if o.Own == nil {
		return nil
	}
	if x, ok := s.find(o.Own.id); ok {
		return &x
	}
	for i := range events {
		if events[i].id == o.Own.id {
			x := events[i].shown()
			return &x
		}
	}
	if s.lacking(LackHistory) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, u.cfg.HeadTime)
	defer cancel()
	x, ok, err := u.find(ctx, who, o.Own.id, marks)
	switch {
	case err != nil:
		if !errors.Is(err, reader.ErrUnavailable) {
			u.cfg.Log.Warn("ClickHouse could not say whether it has an event; the answer does without", "err", err)
		}
		s.lacks = append(s.lacks, Lack{What: LackHistory, Why: u.why(err), To: receiptOf(marks)})
	case ok:
		return &x
	}
	return nil
}

// finish adds the events of the tail, and those that came meanwhile, and answers. It returns nothing when one of these joins
// further ids.
func (u *Users) finish(pin *tail.Pin, s *state, x *ids, events []entry, after []uint64, o *Options, found *shown, again bool) (*Context, error) {
	var a *Context
	err := pin.Rest(x.known, after, func(rest []tail.Row, at []uint64, lost []tail.Lack) {
		for _, r := range rest {
			x.joinRow(r)
		}
		if x.isFresh() && again {
			return
		}
		now := time.Now()
		for i := range events {
			s.add(&events[i], now.UnixMilli())
		}
		for _, r := range rest {
			e := eventOfRow(r)
			s.add(&e, now.UnixMilli())
		}
		for _, l := range lost {
			s.lacks = append(s.lacks, Lack{
				What: LackTail, Why: "more is on its way to ClickHouse than the tail may hold",
				From: bus.Receipt{Places: []bus.Place{{Shard: l.Shard, Seq: l.From}}}.String(),
				To:   bus.Receipt{Places: []bus.Place{{Shard: l.Shard, Seq: l.To}}}.String(),
			})
		}
		if x.over {
			s.lacks = append(s.lacks, Lack{What: LackIDs, Why: fmt.Sprintf("more than %d ids are joined to this user", maxIDs)})
		}
		s.ids, s.at, s.touched = x.known, at, now
		u.mu.Lock()
		defer u.mu.Unlock()
		if len(s.lacks) == 0 {
			u.cache.keep(s)
		}
		a = u.cache.answer(s, now, at, o, found)
		if o.Own != nil && a.Request == nil { // said of this answer alone; what is kept lacks nothing
			a.Lacks = append(slices.Clip(a.Lacks), Lack{
				What: LackRequest, To: o.Own.receipt,
				Why: "the event that was stored there is none of this user's: its id was that of an event of another user, or of one that was refused",
			})
			a.Complete = false
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read the tail: %w", err)
	}
	return a, nil
}

func receiptOf(at []uint64) string {
	var r bus.Receipt
	for i, seq := range at {
		if seq > 0 {
			r.Add(bus.Place{Shard: i, Seq: seq})
		}
	}
	return r.String()
}
