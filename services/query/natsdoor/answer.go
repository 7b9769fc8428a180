package natsdoor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/millrace/millrace/services/query/problem"
)

// headerRoom is what the headers of a reply may take of a message.
const headerRoom = 16 << 10

// answer lets the handler answer a message.
func (d *Door) answer(ctx context.Context, m *nats.Msg, e Endpoint, s *stats) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Patience)
	defer cancel()
	w := &recorder{header: http.Header{}, status: http.StatusOK, limit: max(1024, int(d.cfg.NC.MaxPayload())-headerRoom), full: cancel}
	if r, err := e.request(ctx, m); err != nil {
		problem.New(http.StatusBadRequest, problem.BadRequest, err.Error()).Write(w)
	} else {
		d.serve(w, r)
	}
	wrong := d.reply(m, w)
	s.note(time.Since(began), wrong)
}

// serve runs the handler. One that gives up in the middle of an answer says so by a panic, as net/http wants it.
func (d *Door) serve(w *recorder, r *http.Request) {
	defer func() {
		what := recover()
		switch {
		case w.over:
			w.instead(problem.New(http.StatusRequestEntityTooLarge, problem.TooLarge,
				fmt.Sprintf("the answer is larger than a message may be here (%d bytes): ask for less, or over HTTP", w.limit)))
		case what == http.ErrAbortHandler: //nolint:errorlint // it is the value that net/http compares with
			w.instead(problem.New(http.StatusBadGateway, problem.Unavailable, "the answer was cut short: ask again"))
		case what != nil:
			d.cfg.Log.Error("a handler panicked", "path", r.URL.Path, "panic", fmt.Sprint(what))
			w.instead(problem.New(http.StatusInternalServerError, problem.Internal, "the query service has a fault"))
		}
	}()
	d.cfg.Handler.ServeHTTP(w, r)
}

// refuse answers a message for which there is no room.
func (d *Door) refuse(m *nats.Msg, s *stats) {
	w := &recorder{header: http.Header{}, limit: headerRoom, full: func() {}}
	problem.New(http.StatusServiceUnavailable, problem.Busy, fmt.Sprintf("%d requests are running", cap(d.free))).Write(w)
	s.note(0, d.reply(m, w))
}

// reply sends what was written and returns what was wrong, "" if nothing.
func (d *Door) reply(m *nats.Msg, w *recorder) (wrong string) {
	out := &nats.Msg{Subject: m.Reply, Data: w.body.Bytes(), Header: nats.Header{}}
	for name, values := range w.header {
		if len(values) > 0 && name != "Server" {
			out.Header[name] = values
		}
	}
	if w.status >= http.StatusBadRequest {
		var p problem.Problem
		wrong = http.StatusText(w.status)
		if json.Unmarshal(out.Data, &p) == nil && p.Detail != "" {
			wrong = p.Detail
		}
		wrong = strings.Join(strings.Fields(wrong), " ") // a header is one line
		if len(wrong) > 1024 {
			wrong = strings.ToValidUTF8(wrong[:1024], "") + "..."
		}
		out.Header[micro.ErrorCodeHeader] = []string{strconv.Itoa(w.status)}
		out.Header[micro.ErrorHeader] = []string{wrong}
	}
	if m.Reply == "" {
		return wrong // nobody wants an answer
	}
	if err := d.cfg.NC.PublishMsg(out); err != nil {
		d.cfg.Log.Debug("an answer could not be sent", "subject", m.Subject, "err", err)
		if wrong == "" {
			wrong = err.Error()
		}
	}
	return wrong
}

// recorder keeps an answer, up to a limit.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
	limit  int
	over   bool
	full   context.CancelFunc // ends the work on an answer that does not fit
}

// Header implements http.ResponseWriter.
func (w *recorder) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *recorder) WriteHeader(status int) { w.status = status }

// Flush implements http.Flusher: there is nothing to send before the end.
func (w *recorder) Flush() {}

// Write implements http.ResponseWriter.
func (w *recorder) Write(p []byte) (int, error) {
	if w.over || w.body.Len()+len(p) > w.limit {
		w.over = true
		w.full()
		return 0, fmt.Errorf("the answer is larger than %d bytes", w.limit)
	}
	return w.body.Write(p)
}

// instead replaces what was written.
func (w *recorder) instead(p *problem.Problem) {
	w.header, w.over = http.Header{}, false
	w.body.Reset()
	p.Write(w)
}
