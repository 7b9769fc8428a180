package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// How often each kind of question is asked, by one client that waits for every
// answer.
const (
	asksActive  = 1000
	asksOther   = 50 // each about somebody else, whom nobody has asked about
	asksReports = 20
	// A report that is slow is asked less often, but fewReports times at least.
	longestReport = 8 * time.Second
	fewReports    = 4
	firstLoad     = 4 * time.Second // whose frames made rows take their places from
)

// userMemory is what the active people take: 20,000 of them with 5,000 events a
// second, of which query remembers a day's.
const userMemory = "768MiB"

// answering is the part `answers`: questions on a table of many rows while
// events come in.
type answering struct {
	b    *bench
	in   *installation
	load *steadyLoad
	rnd  *rand.Rand
	asks int // events of asks
	// lacking counts answers that lack something, of one kind of question.
	lacking int
	// ended counts statements that ClickHouse ended after their time, likewise.
	ended int

	others  []inquiry // GET /v1/users/{id}
	asked   []inquiry // POST /v1/ask
	lines   []inquiry // the timeline of somebody
	reports []inquiry
	results []result
}

// inquiry is a question, and what ClickHouse is asked for it.
type inquiry struct {
	name, path string
	user       string
	statements []statement
}

// reportsAsked are the reports over thirty days.
var reportsAsked = []struct{ name, path string }{
	{"trend, events a day", "trend?interval=day"},
	{"trend, users a day", "trend?interval=day&measure=users"},
	{"trend, one event by os", "trend?interval=day&event=Order+Completed&by=os"},
	{"top, events", "top?by=name"},
	{"top, pages by users", "top?by=path&measure=users&event=page"},
	{"funnel, four steps", "funnel?step=Product+Viewed&step=Product+Added&step=Checkout+Started&step=Order+Completed"},
	{"retention by day", "retention?interval=day"},
	{"paths", "paths"},
	{"sessions", "sessions?interval=day"},
	{"stickiness", "stickiness?interval=day"},
	{"revenue", "revenue?interval=day"},
}

// answers measures them in one installation; one run of it asks often.
func (b *bench) answers(ctx context.Context, name, profile string) ([]result, error) {
	in, err := b.up(ctx, "--max-disk", "30GiB", "--user-memory", userMemory)
	if err != nil {
		return nil, err
	}
	b.learn(ctx, in)
	a := &answering{b: b, in: in, load: newSteadyLoad(in, name, b.rate), rnd: rand.New(rand.NewPCG(5, usualSize))}
	if err := a.run(ctx, profile); err != nil {
		in.kill()
		return nil, fmt.Errorf("%w; its files are in %s", err, in.dir)
	}
	return a.results, in.stop()
}

func (a *answering) run(ctx context.Context, profile string) error {
	if err := a.loaded(ctx, func() error { return pause(ctx, firstLoad) }); err != nil {
		return err
	}
	c, err := a.in.covered(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	made, err := a.in.fill(ctx, a.b.rows, c)
	if err != nil {
		return err
	}
	a.in.quiet(ctx)
	a.b.say("answers: made %s rows in %.0f s, with places of %d frames in each of %d shards", number(float64(made)), time.Since(began).Seconds(), c.upTo, c.shards)
	if err := a.prepare(ctx); err != nil {
		return fmt.Errorf("write the statements down: %w", err)
	}
	if profile != "" {
		a.in.profile(ctx, profile, a.b.length)
	}
	if err := a.loaded(ctx, func() error { return a.measure(ctx) }); err != nil {
		return err
	}
	return a.exact(ctx)
}

// loaded does something while events come in, and then waits until all of them
// are rows.
func (a *answering) loaded(ctx context.Context, what func() error) error {
	stop := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() { a.load.run(ctx, a.b.rate, stop) }) // until stop is closed
	err := what()
	close(stop)
	running.Wait()
	if err != nil {
		return err
	}
	if err := a.load.error(); err != nil {
		return err
	}
	for {
		if _, err = a.in.ask(ctx, "SELECT 1", a.load.got.String()); err != errNotYet || ctx.Err() != nil { //nolint:errorlint // ask returns it bare
			return err
		}
	}
}

// prepare chooses whom to ask about and has the statements written down.
func (a *answering) prepare(ctx context.Context) error {
	c, err := a.b.newCapture(ctx, a.in)
	if err != nil {
		return err
	}
	defer c.close()
	// Days whole, the last ones to come too: the statements written down here
	// then read what comes in while questions are asked, as the questions do.
	from, to := time.Now().UTC().AddDate(0, 0, -29), time.Now().UTC().AddDate(0, 0, 2)
	period := "from=" + from.Format(time.DateOnly) + "&to=" + to.Format(time.DateOnly)
	chosen := map[uint64]bool{}
	add := func(to *[]inquiry, name, path, user string) error {
		if strings.Contains(path, "?") {
			path += "&"
		} else {
			path += "?"
		}
		q := inquiry{name: name, path: path + "source=" + url.QueryEscape(a.in.addrs.Source), user: user}
		if q.statements, err = c.of(ctx, q.path); err != nil {
			return err
		}
		*to = append(*to, q)
		return nil
	}
	for i := range 3 * asksOther {
		n := otherUser(a.rnd)
		for chosen[n] {
			n = otherUser(a.rnd)
		}
		chosen[n] = true
		user := "user-" + strconv.FormatUint(n, 10)
		switch i % 3 {
		case 0:
			err = add(&a.others, "user, any other", "/v1/users/"+user, user)
		case 1:
			err = add(&a.asked, "ask, any other", "/v1/users/"+user, user)
		case 2:
			err = add(&a.lines, "timeline", "/v1/reports/timeline?limit=100&"+period+"&user="+user, user)
		}
		if err != nil {
			return err
		}
	}
	for _, r := range reportsAsked {
		join := "?"
		if strings.Contains(r.path, "?") {
			join = "&"
		}
		if err := add(&a.reports, r.name, "/v1/reports/"+r.path+join+period, ""); err != nil {
			return err
		}
	}
	return nil
}

// exact checks that every event that was sent is there once, beside the made
// rows.
func (a *answering) exact(ctx context.Context) error {
	want := a.load.sent + a.asks
	text, err := a.in.ask(ctx, "SELECT count(), uniqExact(event_id) FROM events WHERE NOT startsWith(event_id, '"+madeID+"')", "")
	if err == nil && text != fmt.Sprintf("%d\t%d", want, want) {
		err = fmt.Errorf("events were lost or doubled: sent %d, rows and distinct ids %s", want, text)
	}
	return err
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
