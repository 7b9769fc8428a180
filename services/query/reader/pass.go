package reader

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Stall is how long a client may take no byte of a result before it is given up: ClickHouse holds memory and a place
// among its queries all the while.
const Stall = 30 * time.Second

// Pass copies a result to the client as it comes; memory does not grow with it. It returns [ErrCut] when the result
// is not whole. Then the caller must not end the answer properly.
func Pass(ctx context.Context, w http.ResponseWriter, res *http.Response) (n int64, err error) {
	in := Watch(ctx, res)
	rc := http.NewResponseController(w)
	buf := make([]byte, 64<<10)
	for {
		got, readErr := in.Read(buf)
		if got > 0 {
			_ = rc.SetWriteDeadline(time.Now().Add(Stall)) // a connection without deadlines is only less protected
			if _, err := w.Write(buf[:got]); err != nil {  // the client is gone or does not read
				return n, fmt.Errorf("%w: the client takes it no longer: %w", ErrCut, err)
			}
			n += int64(got)
			if err := rc.Flush(); err != nil {
				return n, fmt.Errorf("%w: the client takes it no longer: %w", ErrCut, err)
			}
		}
		switch {
		case errors.Is(readErr, io.EOF):
			return n, nil
		case readErr != nil:
			return n, readErr
		}
	}
}

// Watch reads a result and ends with io.EOF only if it was whole, else with an error that wraps [ErrCut].
func Watch(ctx context.Context, res *http.Response) io.Reader {
	return &watched{ctx: ctx, body: res.Body, watch: newCutWatch(res.Header.Get(HeaderExceptionTag))}
}

type watched struct {
	ctx   context.Context // of the question, whose end ends the body
	body  io.Reader
	watch *cutWatch
}

func (r *watched) Read(p []byte) (int, error) {
	n, err := r.body.Read(p)
	_, _ = r.watch.Write(p[:n]) // it only remembers
	switch {
	case err == nil:
		return n, nil
	case r.watch.cut():
		return n, fmt.Errorf("%w: ClickHouse failed after the first byte: %s", ErrCut, r.watch.message())
	case errors.Is(err, io.EOF):
		return n, io.EOF
	case r.ctx.Err() != nil:
		return n, fmt.Errorf("%w: %w", ErrCut, context.Cause(r.ctx))
	}
	return n, fmt.Errorf("%w: %w", ErrCut, err)
}

// cutWatch looks at the end of a result for ClickHouse's exception block. An error after the first byte arrives in the
// body as
//
//	\r\n__exception__\r\n<tag>\r\n<message>\r\n<length> <tag>\r\n__exception__\r\n
//
// with the tag of the header X-ClickHouse-Exception-Tag (seen with 26.7, in every format; the connection is broken
// after it, but something between ClickHouse and us may have mended that).
type cutWatch struct {
	end  []byte
	mark []byte
	tail []byte
}

// maxTail holds the block: ClickHouse cuts its message to 16 KiB.
const maxTail = 20 << 10

// ExceptionMark begins and ends the block.
const ExceptionMark = "\r\n__exception__\r\n"

func newCutWatch(tag string) *cutWatch {
	if tag == "" {
		return &cutWatch{}
	}
	return &cutWatch{mark: []byte(ExceptionMark + tag + "\r\n"), end: []byte(" " + tag + ExceptionMark)}
}

// Write implements io.Writer; it never fails.
func (c *cutWatch) Write(p []byte) (int, error) {
	if len(p) >= maxTail {
		c.tail = append(c.tail[:0], p[len(p)-maxTail:]...)
		return len(p), nil
	}
	if over := len(c.tail) + len(p) - maxTail; over > 0 {
		c.tail = append(c.tail[:0], c.tail[over:]...)
	}
	c.tail = append(c.tail, p...)
	return len(p), nil
}

// cut says whether what was written ends with an exception block.
func (c *cutWatch) cut() bool { return len(c.end) > 0 && bytes.HasSuffix(c.tail, c.end) }

// message is ClickHouse's text in the exception block.
func (c *cutWatch) message() string {
	i := bytes.LastIndex(c.tail, c.mark)
	if len(c.mark) == 0 || i < 0 {
		return "the connection ended before the result did"
	}
	text := c.tail[i+len(c.mark):]
	if j := bytes.LastIndex(text, []byte("\r\n__exception__")); j >= 0 {
		text = text[:j]
	}
	if j := bytes.LastIndexByte(text, '\n'); j >= 0 {
		text = text[:j]
	}
	return string(bytes.ToValidUTF8(bytes.TrimSpace(text), []byte("?")))
}
