package mcp

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
)

// recorder keeps an answer of the handler up to a number of bytes and of lines, and then ends the work on it.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
	bytes  int
	lines  int // 0: as many as there are
	seen   int // lines in body
	over   bool
	full   context.CancelFunc
}

// Header implements http.ResponseWriter.
func (w *recorder) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *recorder) WriteHeader(status int) { w.status = status }

// Flush implements http.Flusher: there is nothing to send before the end.
func (w *recorder) Flush() {}

// Write implements http.ResponseWriter. What fits is kept of what does not, so that the rows before it are there.
func (w *recorder) Write(p []byte) (int, error) {
	n := min(len(p), w.bytes-w.body.Len())
	if w.lines > 0 {
		n = min(n, w.room(p))
	}
	if !w.over {
		w.body.Write(p[:n])
		w.seen += bytes.Count(p[:n], []byte{'\n'})
	}
	if w.over || n < len(p) {
		w.over = true
		w.full()
		return 0, fmt.Errorf("the answer is larger than %d bytes or %d lines", w.bytes, w.lines)
	}
	return n, nil
}

// room is how much of p there is before the lines are too many.
func (w *recorder) room(p []byte) (n int) {
	for seen := w.seen; seen < w.lines; seen++ {
		i := bytes.IndexByte(p[n:], '\n')
		if i < 0 {
			return len(p)
		}
		n += i + 1
	}
	return n
}
