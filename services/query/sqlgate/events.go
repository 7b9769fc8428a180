package sqlgate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/millrace/millrace/services/query/problem"
	"github.com/millrace/millrace/services/query/reader"
)

// line is one line of ClickHouse's JSONEachRowWithProgress; one of its members is there.
type line struct {
	Meta     json.RawMessage `json:"meta"`
	Row      json.RawMessage `json:"row"`
	Progress json.RawMessage `json:"progress"`
	Totals   json.RawMessage `json:"totals"`
}

// Started is the first event of a question whose progress is told.
type Started struct {
	QueryID string `json:"query_id"`
}

// Statistics are the last event of a question that ended well.
type Statistics struct {
	Rows      uint64  `json:"rows"`       // of the result
	ReadRows  uint64  `json:"read_rows"`  // by ClickHouse
	ReadBytes uint64  `json:"read_bytes"` // by ClickHouse, before compression
	Seconds   float64 `json:"seconds"`    // from the question to the end of its result
}

// progress is what ClickHouse tells, with its numbers as text or not.
type progress struct {
	ReadRows  json.Number `json:"read_rows"`
	ReadBytes json.Number `json:"read_bytes"`
}

// sendEvents answers with server-sent events: started, then meta, row, totals and progress as they come, then done or
// error. An error that it returns has written nothing yet.
func (g *Gate) sendEvents(w http.ResponseWriter, r *http.Request, a *Answer) error {
	if f := a.Response.Header.Get(reader.HeaderFormat); f != formats[eventStream] {
		return badRequest("the SQL has a FORMAT clause (%s): the progress of a question is told with its rows as JSON, so leave it out", f)
	}
	h := w.Header()
	h.Set("Content-Type", eventStream)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // proxies of the nginx kind would collect the events
	h.Set(reader.HeaderQueryID, a.ID)
	w.WriteHeader(http.StatusOK)
	out := &eventWriter{w: w, rc: http.NewResponseController(w)}
	out.send("started", Started{QueryID: a.ID})
	out.flush()

	var stats Statistics
	in := newLines(reader.Watch(a.ctx, a.Response))
	var err error
	for err == nil && out.err == nil {
		var text []byte
		if text, err = in.next(); err != nil {
			break
		}
		var l line
		if err = json.Unmarshal(text, &l); err != nil {
			break
		}
		switch {
		case l.Row != nil:
			stats.Rows++
			out.send("row", l.Row)
		case l.Progress != nil:
			var p progress
			if json.Unmarshal(l.Progress, &p) == nil { // else only the sums are older
				stats.note(p)
			}
			out.send("progress", numbers(l.Progress))
		case l.Meta != nil:
			out.send("meta", l.Meta)
		case l.Totals != nil:
			out.send("totals", l.Totals)
		}
		if in.waits() {
			out.flush()
		}
	}
	g.cfg.Metrics.Bytes.Add(float64(out.n))
	switch {
	case out.err != nil:
		g.noteCut(r.Context(), a, out.n, fmt.Errorf("%w: the client takes it no longer: %w", reader.ErrCut, out.err))
		panic(http.ErrAbortHandler)
	case errors.Is(err, io.EOF):
		stats.Seconds = time.Since(a.began).Seconds()
		out.send("done", stats)
	default:
		// What is left tells why; a block of ClickHouse's is no JSON. Behind a line that is too long there may be gigabytes.
		if _, mine := errors.AsType[*problem.Problem](err); !mine {
			if _, rest := io.Copy(io.Discard, in.in); rest != nil {
				err = rest
			}
		}
		g.noteCut(r.Context(), a, out.n, err)
		out.send("error", cutProblem(a.ID, err))
	}
	out.flush()
	return nil
}

// cutProblem is what became of a question after its first byte.
func cutProblem(id string, err error) *problem.Problem {
	p := reader.Problem(err)
	p.QueryID = id
	return p
}

// numbers are the numbers of a progress as such, which ClickHouse writes as text, so that they read like those of done.
func numbers(text json.RawMessage) json.RawMessage {
	var list map[string]json.Number // which text is taken for too
	if json.Unmarshal(text, &list) != nil {
		return text
	}
	plain, err := json.Marshal(list)
	if err != nil {
		return text
	}
	return plain
}

func (s *Statistics) note(p progress) {
	if n, err := p.ReadRows.Int64(); err == nil && n >= 0 {
		s.ReadRows = max(s.ReadRows, uint64(n))
	}
	if n, err := p.ReadBytes.Int64(); err == nil && n >= 0 {
		s.ReadBytes = max(s.ReadBytes, uint64(n))
	}
}

// eventWriter collects server-sent events and writes them in pieces; it keeps the first error.
type eventWriter struct {
	w   http.ResponseWriter
	rc  *http.ResponseController
	buf bytes.Buffer
	n   int64
	err error
}

// piece is how many bytes of events are written at once while more are coming.
const piece = 64 << 10

func (e *eventWriter) send(name string, data any) {
	if e.err != nil {
		return
	}
	text, raw := data.(json.RawMessage) // which was one line
	if !raw {
		if text, e.err = json.Marshal(data); e.err != nil {
			return
		}
	}
	e.buf.WriteString("event: " + name + "\ndata: ")
	e.buf.Write(text)
	e.buf.WriteString("\n\n")
	if e.buf.Len() >= piece {
		e.flush()
	}
}

func (e *eventWriter) flush() {
	if e.err != nil || e.buf.Len() == 0 {
		return
	}
	_ = e.rc.SetWriteDeadline(time.Now().Add(reader.Stall)) // a connection without deadlines is only less protected
	n, err := e.buf.WriteTo(e.w)
	e.n += n
	if err == nil {
		err = e.rc.Flush()
	}
	e.err = err
}
