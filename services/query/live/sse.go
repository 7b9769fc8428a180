package live

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

// errStalled ends a reader whose connection took nothing for too long, or is gone.
var errStalled = errors.New("the reader takes nothing")

// sse writes server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html.
type sse struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	stall time.Duration
	buf   []byte
	last  time.Time // of a write
}

// reconnect is how long a browser waits before it comes back.
const reconnect = "retry: 1000\n\n"

// newSSE begins the answer.
func newSSE(w http.ResponseWriter, stall time.Duration) *sse {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Accel-Buffering", "no") // what nginx and others in between hold back otherwise
	s := &sse{w: w, rc: http.NewResponseController(w), stall: stall, buf: []byte(reconnect)}
	// The server's time to read a request would end the connection, as it ends the watch over it.
	_ = s.rc.SetReadDeadline(time.Time{})
	w.WriteHeader(http.StatusOK)
	return s
}

// id writes where the reader is, without an event.
func (s *sse) id(p position) {
	s.buf = append(p.append(append(s.buf, "id: "...)), '\n', '\n')
}

// event writes an event that is none of the stream's: name says what it is, v becomes its JSON.
func (s *sse) event(name string, v any) {
	text, err := json.Marshal(v)
	if err != nil { // plain structs of ours
		text = []byte("{}")
	}
	s.buf = append(append(s.buf, "event: "...), name...)
	s.buf = append(append(s.buf, "\ndata: "...), text...)
	s.buf = append(s.buf, '\n', '\n')
}

// flush sends what was written.
func (s *sse) flush() error {
	if len(s.buf) == 0 {
		return nil
	}
	_ = s.rc.SetWriteDeadline(time.Now().Add(s.stall)) // a connection without deadlines is only less protected
	_, err := s.w.Write(s.buf)
	s.buf = s.buf[:0]
	if err == nil {
		err = s.rc.Flush()
	}
	if err != nil {
		return errors.Join(errStalled, err)
	}
	s.last = time.Now()
	return nil
}
