package sqlgate

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/millrace/millrace/services/query/problem"
)

// maxLine bounds a row whose progress is told: unlike a result that is passed on as it comes, all of it is in memory, more
// than once.
const maxLine = 8 << 20

// lines reads a result line by line.
type lines struct {
	in  *bufio.Reader
	buf []byte // a line that the reader's buffer cannot hold
}

func newLines(in io.Reader) *lines { return &lines{in: bufio.NewReaderSize(in, 64<<10)} }

// next is the next line that is not empty, without the blanks around it; it is good until the one after it. The error is
// io.EOF behind the last, and a problem for a line over the bound.
func (l *lines) next() ([]byte, error) {
	for {
		l.buf = l.buf[:0]
		part, err := l.in.ReadSlice('\n')
		for errors.Is(err, bufio.ErrBufferFull) {
			if l.buf = append(l.buf, part...); len(l.buf) > maxLine {
				return nil, tooLong()
			}
			part, err = l.in.ReadSlice('\n')
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if len(l.buf) > 0 {
			l.buf = append(l.buf, part...)
			part = l.buf
		}
		switch part = bytes.TrimSpace(part); {
		case len(part) > maxLine:
			return nil, tooLong()
		case len(part) > 0:
			return part, nil // with an end of file, the next call returns it again
		case err != nil:
			return nil, io.EOF
		}
	}
}

// waits says whether everything that has come was handed out.
func (l *lines) waits() bool { return l.in.Buffered() == 0 }

func tooLong() error {
	return problem.New(http.StatusUnprocessableEntity, problem.Limit, fmt.Sprintf("a row has more than %d bytes, which is too much to be told with progress", maxLine)).
		Instead("ask for the plain result (without Accept: text/event-stream), which is passed on as it comes, or for less of the column, such as by substring()")
}
