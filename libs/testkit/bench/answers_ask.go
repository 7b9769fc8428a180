package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// measure asks everything. First nothing is asked for a while, which is the
// ingest alone; it also lets query read ahead who is active.
func (a *answering) measure(ctx context.Context) error {
	if err := a.aheadOf(ctx); err != nil {
		return err
	}
	alone := a.load.stretch()
	if err := pause(ctx, 2*a.b.length); err != nil {
		return err
	}
	alone.end(a.result("ingest alone"))
	for _, kind := range []func(context.Context) error{a.active, a.asksOfOthers, a.usersOther, a.timelines, a.allReports} {
		if err := kind(ctx); err != nil {
			return err
		}
		if err := a.load.error(); err != nil {
			return err
		}
	}
	return nil
}

// longestAhead is how long query may take to read ahead who is active; what it
// has not read by then, questions find cold.
const longestAhead = 5 * time.Minute

// aheadOf waits until most of the people who became active when the load began
// have been read ahead, and notes how long that took.
func (a *answering) aheadOf(ctx context.Context) error {
	r := a.result("read ahead")
	began, all := time.Now(), float64(activePeople(a.b.rate))
	r.Figures[figActive] = all
	for time.Since(began) < longestAhead && r.Figures[figKept] < 0.995*all {
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
		text, err := get(ctx, a.in.addrs.Admin+"/metrics")
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			if name, value, _ := strings.Cut(strings.TrimSpace(line), " "); name == "millrace_query_user_kept" {
				r.Figures[figKept], _ = strconv.ParseFloat(value, 64)
			}
		}
	}
	r.Figures[figAhead] = time.Since(began).Seconds()
	a.b.say("answers: %s of %s active people were read ahead in %.0f s", number(r.Figures[figKept]), number(all), r.Figures[figAhead])
	return nil
}

func (a *answering) result(kind string) *result {
	w := way{part: "answers", kind: kind, events: a.b.rows, size: usualSize, durability: "process", x: float64(a.b.rows)}
	a.results = append(a.results, w.result(a.b))
	return &a.results[len(a.results)-1]
}

// figures adds what was measured about one kind of question. direct may be
// empty.
func (a *answering) figures(kind string, took, direct []time.Duration) {
	// Of each pair, before quantile sorts them: the machine is not the same all
	// the time, but it is from one question to the next.
	var more []time.Duration
	for i, d := range direct {
		more = append(more, took[i]-d)
	}
	overhead := quantile(more, 0.5)
	r := a.result(kind)
	r.Figures[figAsked] = float64(len(took))
	r.Figures[figLacking], a.lacking = float64(a.lacking), 0
	r.Figures[figEnded], a.ended = float64(a.ended), 0
	r.Figures[figAnswer50], r.Figures[figAnswer99] = quantile(took, 0.5), quantile(took, 0.99)
	if len(direct) > 0 {
		r.Figures[figDirect50], r.Figures[figDirect99] = quantile(direct, 0.5), quantile(direct, 0.99)
		r.Figures[figOverhead] = 100 * overhead / r.Figures[figDirect50]
	}
	a.b.say("%s: %s", r.name(), r.brief())
}

// active asks for users who have sent something since the load began.
func (a *answering) active(ctx context.Context) error {
	var asked, got []time.Duration
	for range asksActive {
		user := "user-" + strconv.FormatUint(a.load.someone(a.rnd, a.b.rate), 10)
		began := time.Now()
		if err := a.ask(ctx, user); err != nil {
			return err
		}
		asked = append(asked, time.Since(began))
		user = "user-" + strconv.FormatUint(a.load.someone(a.rnd, a.b.rate), 10)
		began = time.Now()
		if err := a.user(ctx, "/v1/users/"+user+"?source="+url.QueryEscape(a.in.addrs.Source)); err != nil {
			return err
		}
		got = append(got, time.Since(began))
	}
	a.figures("ask, active", asked, nil)
	a.figures("user, active", got, nil)
	return nil
}

// ask is a request of a user. Its own event must be in the answer, and nothing
// may lack.
func (a *answering) ask(ctx context.Context, user string) error {
	a.asks++
	body := fmt.Sprintf(`{"user_id":%q,"message_id":"ask-%d","event_type":"help_requested","event_data":{"question":"where is my order?"}}`, user, a.asks)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.in.addrs.Query+"/v1/ask?source="+url.QueryEscape(a.in.addrs.Source), strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	text, err := do(req)
	if err != nil {
		return err
	}
	return a.whole(text, fmt.Sprintf("ask-%d", a.asks))
}

func (a *answering) user(ctx context.Context, path string) error {
	text, err := get(ctx, a.in.addrs.Query+path)
	if err != nil {
		return err
	}
	return a.whole(text, "")
}

// whole says whether an answer about a user is complete and shows the event of
// its ask.
func (a *answering) whole(text []byte, own string) error {
	var is struct {
		Complete bool
		Lacks    json.RawMessage
		Recent   []struct {
			ID string `json:"event_id"`
		}
	}
	if err := json.Unmarshal(text, &is); err != nil {
		return fmt.Errorf("an answer about a user: %w", err)
	}
	shown := own == ""
	for _, e := range is.Recent {
		shown = shown || e.ID == own
	}
	if !shown {
		return fmt.Errorf("the answer to an ask does not show its event: %.500s", text)
	}
	if !is.Complete { // it says what it lacks, as when ClickHouse took too long
		a.lacking++
		a.b.say("answers: an answer lacks %s", is.Lacks)
	}
	return nil
}

// pair asks a question and its statements, the one or the other first in turn.
func (a *answering) pair(ctx context.Context, i int, q inquiry, ask func() error) (took, direct time.Duration, err error) {
	through := func() error {
		began := time.Now()
		err := ask()
		took = time.Since(began)
		return err
	}
	past := func() (err error) {
		direct, err = a.in.direct(ctx, q.statements)
		return a.unlessEnded(err)
	}
	order := []func() error{through, past}
	if i%2 == 1 {
		slices.Reverse(order)
	}
	for _, f := range order {
		if err := f(); err != nil {
			return 0, 0, fmt.Errorf("%s: %w", q.name, err)
		}
	}
	return took, direct, nil
}

// unlessEnded is err, but for that of a statement that ClickHouse ended because
// it took too long, as a busy machine makes it: that is a figure too, and the
// time until the end is the least that the statement takes.
func (a *answering) unlessEnded(err error) error {
	if err != nil && strings.Contains(err.Error(), "TIMEOUT_EXCEEDED") {
		a.ended++
		return nil
	}
	return err
}

// each asks some questions once.
func (a *answering) each(ctx context.Context, all []inquiry, ask func(q inquiry) error) error {
	var took, direct []time.Duration
	for i, q := range all {
		t, d, err := a.pair(ctx, i, q, func() error { return ask(q) })
		if err != nil {
			return err
		}
		took, direct = append(took, t), append(direct, d)
	}
	a.figures(all[0].name, took, direct)
	return nil
}

func (a *answering) asksOfOthers(ctx context.Context) error {
	return a.each(ctx, a.asked, func(q inquiry) error { return a.ask(ctx, q.user) })
}

func (a *answering) usersOther(ctx context.Context) error {
	return a.each(ctx, a.others, func(q inquiry) error { return a.user(ctx, q.path) })
}

func (a *answering) timelines(ctx context.Context) error {
	return a.each(ctx, a.lines, func(q inquiry) error {
		_, err := get(ctx, a.in.addrs.Query+q.path)
		return err
	})
}

// allReports asks each report again and again, and then notes how the ingest
// went meanwhile.
func (a *answering) allReports(ctx context.Context) error {
	beside := a.load.stretch()
	for _, q := range a.reports {
		var took, direct []time.Duration
		began := time.Now()
		for i := range asksReports {
			t, d, err := a.pair(ctx, i, q, func() error {
				_, err := get(ctx, a.in.addrs.Query+q.path)
				return a.unlessEnded(err)
			})
			if err != nil {
				return err
			}
			took, direct = append(took, t), append(direct, d)
			if i+1 >= fewReports && time.Since(began) > longestReport {
				break
			}
		}
		a.figures(q.name, took, direct)
	}
	beside.end(a.result("ingest, reports running"))
	return nil
}
