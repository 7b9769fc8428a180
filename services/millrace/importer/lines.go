package importer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
)

// Place says where a line was found.
type Place struct {
	File string // "-" is standard input
	Line int    // from 1
}

// String is file:line, as compilers write it.
func (p Place) String() string { return fmt.Sprintf("%s:%d", p.File, p.Line) }

// TotalSize is the size of all files in bytes as they lie on disk, or -1 if
// one of them has none (standard input, a pipe). It also finds, before
// anything is sent, a file that does not exist.
func TotalSize(files []string) (int64, error) {
	var total int64
	for _, name := range files {
		if name == "-" {
			total = -1
			continue
		}
		st, err := os.Stat(name)
		if err != nil {
			return 0, fmt.Errorf("import: %w", err)
		}
		switch {
		case st.IsDir():
			return 0, fmt.Errorf("import: %s is a directory: name its files", name)
		case !st.Mode().IsRegular():
			total = -1
		case total >= 0:
			total += st.Size()
		}
	}
	return total, nil
}

// counter tells how much of a file was read, compressed as it is.
type counter struct {
	r     io.Reader
	moved func(n int)
}

func (c counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if n > 0 && c.moved != nil {
		c.moved(n)
	}
	return n, err
}

// open opens a file, plain or gzip (known by its first two bytes, RFC 1952).
func open(name string, stdin io.Reader, moved func(int)) (io.Reader, func() error, error) {
	source, closeFile := stdin, func() error { return nil }
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, nil, fmt.Errorf("import: %w", err)
		}
		source, closeFile = f, f.Close
	}
	buffered := bufio.NewReaderSize(counter{source, moved}, 256<<10)
	magic, err := buffered.Peek(2)
	if err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		plain, err := gzip.NewReader(buffered)
		if err != nil {
			_ = closeFile() // nothing was written to it
			return nil, nil, fmt.Errorf("import: read %s: %w", name, err)
		}
		return plain, closeFile, nil
	}
	return buffered, closeFile, nil
}

// errTooLong is given for a line that no request could carry.
var errTooLong = errors.New("longer than a request may be")

// eachLine calls fn with every line, without its line end (LF or CRLF). Empty
// lines are left out, but counted in the numbers. The bytes are valid until fn
// returns. A line over limit is given as errTooLong with no bytes.
func eachLine(r io.Reader, limit int, fn func(number int, line []byte, fault error) error) error {
	in := bufio.NewReaderSize(r, 64<<10)
	var long []byte
	for number := 1; ; number++ {
		long = long[:0]
		tooLong := false
		line, err := in.ReadSlice('\n')
		for errors.Is(err, bufio.ErrBufferFull) {
			if tooLong = tooLong || len(long)+len(line) > limit; !tooLong {
				long = append(long, line...)
			}
			line, err = in.ReadSlice('\n')
		}
		if len(long) > 0 || tooLong {
			long = append(long, line...)
			line = long
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("line %d: %w", number, err)
		}
		ended := err != nil
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		var fault error
		if tooLong || len(line) > limit {
			line, fault = nil, errTooLong
		}
		if len(line) > 0 || fault != nil {
			if err := fn(number, line, fault); err != nil {
				return err
			}
		}
		if ended {
			return nil
		}
	}
}
