package users

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event"
	"github.com/millrace/millrace/services/query/access"
	"github.com/millrace/millrace/services/query/problem"
)

// maxWait bounds what a request may wait for.
const maxWait = 30 * time.Second

// params are the parameters of the URL.
type params struct {
	source    string
	recent    int
	wait      time.Duration
	after     string
	anonymous bool
}

func bad(format string, args ...any) error {
	return problem.New(http.StatusBadRequest, problem.BadRequest, fmt.Sprintf(format, args...))
}

// readParams refuses what is not among known, so that nothing is ignored in silence.
func readParams(r *http.Request, known string) (p params, err error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return p, bad("the parameters of the URL cannot be read: %v", err)
	}
	for name, list := range values {
		if !strings.Contains(" "+known+" ", " "+name+" ") {
			return p, bad("parameter %q is unknown: there are %s", name, strings.ReplaceAll(known, " ", ", "))
		}
		if len(list) > 1 {
			return p, bad("parameter %s is given %d times", name, len(list))
		}
		v := list[0]
		switch name {
		case "source":
			p.source = v
		case "after":
			p.after = v
		case "recent":
			if p.recent, err = strconv.Atoi(v); err != nil || p.recent < 1 || p.recent > maxRecent {
				return p, bad("recent %q: want 1 to %d", v, maxRecent)
			}
		case "timeout":
			if p.wait, err = time.ParseDuration(v); err != nil || p.wait <= 0 || p.wait > maxWait {
				return p, bad("timeout %q: want a time to wait, such as 500ms or 5s, up to %s", v, maxWait)
			}
		case "anonymous":
			if p.anonymous, err = strconv.ParseBool(v); err != nil {
				return p, bad("anonymous %q: want true or false", v)
			}
		}
	}
	return p, nil
}

// take lets a key of one of the scopes in that may ask about a source, for one question.
func (u *Users) take(r *http.Request, named string, scopes ...access.Scope) (source string, done func(), err error) {
	if err := access.Need(r.Context(), scopes...); err != nil {
		return "", nil, err
	}
	key := access.From(r.Context())
	if source, err = key.Source(named); err != nil {
		return "", nil, err
	}
	if err := bus.ValidSource(source); err != nil {
		return "", nil, bad("%v", err)
	}
	if done, err = key.Take(); err != nil && u.cfg.OverQuota != nil {
		u.cfg.OverQuota.WithLabelValues(key.Name()).Inc()
	}
	return source, done, err
}

// ServeAsk is POST /v1/ask. An error has written nothing.
func (u *Users) ServeAsk(w http.ResponseWriter, r *http.Request) error {
	p, err := readParams(r, "source recent timeout")
	if err != nil {
		return err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return problem.New(http.StatusRequestEntityTooLarge, problem.TooLarge, fmt.Sprintf("an event has at most %d bytes", MaxBody))
	case err != nil:
		return bad("the body did not arrive whole: %v", err)
	}
	if p.source == "" { // a member of the event may say it too
		var named struct{ Source string }
		_ = json.Unmarshal(body, &named) // readEvent says what is wrong with it
		p.source = named.Source
	}
	source, done, err := u.take(r, p.source, access.Ask, access.Write)
	if err != nil {
		return err
	}
	defer done()
	a, err := u.Ask(r.Context(), Request{
		Source: source, Body: body, IP: u.cfg.TrustedProxies.ClientIP(r), UserAgent: r.UserAgent(), Recent: p.recent, Wait: p.wait,
	})
	if err != nil {
		return err
	}
	return write(w, a)
}

// ServeUser is GET /v1/users/{id}, the id being the request's path value of that name. An error has written nothing.
func (u *Users) ServeUser(w http.ResponseWriter, r *http.Request) error {
	p, err := readParams(r, "source recent timeout after anonymous")
	if err != nil {
		return err
	}
	id := r.PathValue("id")
	if most := event.DefaultLimits().MaxID; len(id) > most {
		return bad("an id has at most %d bytes, this one has %d", most, len(id))
	}
	source, done, err := u.take(r, p.source, access.Ask)
	if err != nil {
		return err
	}
	defer done()
	var after bus.Receipt
	if p.after != "" {
		if after, err = u.await(r, p); err != nil {
			return err
		}
	}
	a, err := u.About(r.Context(), User{Source: source, ID: id, Anonymous: p.anonymous}, Options{Recent: p.recent, After: after})
	if err != nil {
		return err
	}
	return write(w, a)
}

func write(w http.ResponseWriter, a *Context) error {
	text, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(append(text, '\n')) // the reader is gone; there is nobody to tell
	return nil
}

// await waits for the receipt of after=.
func (u *Users) await(r *http.Request, p params) (bus.Receipt, error) {
	ctx, cancel := withWait(r.Context(), p.wait)
	defer cancel()
	select {
	case <-u.cfg.Tail.Ready():
	case <-ctx.Done():
		return bus.Receipt{}, u.unavailable(u.cfg.Tail.Err())
	}
	receipt, err := bus.ParseReceipt(p.after, len(u.cfg.Tail.Position()))
	if err != nil {
		return receipt, bad("after: %v", err)
	}
	if receipt.In > 0 {
		return receipt, bad("after: in:<sequence> is for questions in SQL; name shard:sequence")
	}
	return receipt, u.Await(ctx, receipt)
}

func withWait(ctx context.Context, wait time.Duration) (context.Context, context.CancelFunc) {
	if wait == 0 {
		wait = defaultWait
	}
	return context.WithTimeout(ctx, wait)
}
