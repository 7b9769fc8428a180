package client

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/millrace/millrace/services/query/reader"
)

// ErrCut says that an answer ended before it was whole.
var ErrCut = errors.New("the answer is not whole")

// cutReader reads an answer of ClickHouse without the block with which it ends when ClickHouse failed after its first rows:
// that is no part of the answer, in whatever format it is. Such an answer ends with [ErrCut] and what ClickHouse said.
type cutReader struct {
	io.Closer
	in   io.Reader
	mark []byte // with which the block begins; it has a number that nobody knows before; empty: there is none
	buf  []byte // read, and not handed out
	err  error  // of in
	hold bool   // buf begins with mark: nothing of it is handed out
}

// maxHeld bounds a block: ClickHouse cuts its message to 16 KiB.
const maxHeld = 64 << 10

func newCutReader(body io.ReadCloser, tag string) *cutReader {
	r := &cutReader{Closer: body, in: body}
	if tag != "" {
		r.mark = []byte(reader.ExceptionMark + tag + "\r\n")
	}
	return r
}

// Read implements io.Reader.
func (r *cutReader) Read(p []byte) (int, error) {
	for {
		if n := r.free(); n > 0 {
			n = copy(p, r.buf[:n])
			r.buf = r.buf[n:]
			return n, nil
		}
		if r.err != nil {
			return 0, r.end()
		}
		part := make([]byte, 32<<10)
		n, err := r.in.Read(part)
		r.buf, r.err = append(r.buf, part[:n]...), err
	}
}

// free is how much of buf belongs to the answer for sure.
func (r *cutReader) free() int {
	if len(r.mark) == 0 {
		return len(r.buf)
	}
	if r.hold {
		r.buf = r.buf[:min(len(r.buf), maxHeld)] // nothing comes behind a block
		return 0
	}
	if i := bytes.Index(r.buf, r.mark); i >= 0 {
		r.hold = i == 0
		return i
	}
	if r.err != nil {
		return len(r.buf)
	}
	// The end may be the beginning of the mark.
	for n := min(len(r.mark)-1, len(r.buf)); n > 0; n-- {
		if bytes.HasPrefix(r.mark, r.buf[len(r.buf)-n:]) {
			return len(r.buf) - n
		}
	}
	return len(r.buf)
}

// end is how the answer ended, once all of it was handed out.
func (r *cutReader) end() error {
	switch {
	case r.hold:
		text := r.buf[len(r.mark):]
		if i := bytes.LastIndex(text, []byte("\r\n__exception__")); i >= 0 {
			text = text[:i]
		}
		if i := bytes.LastIndexByte(text, '\n'); i >= 0 { // its length and its tag
			text = text[:i]
		}
		return fmt.Errorf("%w: ClickHouse failed after its first rows: %s", ErrCut, bytes.ToValidUTF8(bytes.TrimSpace(text), []byte("?")))
	case errors.Is(r.err, io.EOF):
		return io.EOF
	}
	return fmt.Errorf("%w: %w", ErrCut, r.err)
}
