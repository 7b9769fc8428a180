package client

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/millrace/millrace/services/query/reader"
)

// What ClickHouse says at the end of an answer that it cannot finish is an error and no row, in pieces of any size.
func TestCutReader(t *testing.T) {
	const tag = "abcdefghijklmnop"
	rows := strings.Repeat("1\t2\r\n__exception__\r\nnot the tag\n", 3000)
	block := reader.ExceptionMark + tag + "\r\nCode: 159. Timeout exceeded\n27 " + tag + reader.ExceptionMark
	broken := errors.New("broken")
	for _, tc := range []struct {
		tag, body  string
		broken     error
		want, says string
	}{
		{tag, rows, nil, rows, ""},
		{tag, rows + "\r\n__excep", nil, rows + "\r\n__excep", ""},
		{"", rows + block, nil, rows + block, ""}, // without a tag no block can be told from rows
		{tag, rows + block, nil, rows, "ClickHouse failed after its first rows: Code: 159. Timeout exceeded"},
		{tag, rows + block, broken, rows, "ClickHouse failed after its first rows: Code: 159. Timeout exceeded"},
		{tag, block, broken, "", "Code: 159"},
		{tag, rows, broken, rows, "broken"},
	} {
		for name, slow := range map[string]func(io.Reader) io.Reader{"at once": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader} {
			body := io.Reader(strings.NewReader(tc.body))
			if tc.broken != nil {
				body = io.MultiReader(body, iotest.ErrReader(tc.broken))
			}
			got, err := io.ReadAll(newCutReader(io.NopCloser(slow(body)), tc.tag))
			if string(got) != tc.want || tc.says == "" && err != nil || tc.says != "" && (!errors.Is(err, ErrCut) || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), tag)) {
				t.Errorf("%s, %d bytes: got %d bytes, %v, want %d and %q", name, len(tc.body), len(got), err, len(tc.want), tc.says)
			}
		}
	}
}
