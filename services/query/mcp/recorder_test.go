package mcp

import (
	"net/http"
	"testing"
)

// However an answer comes in pieces, the same of it is kept, and whether it was all.
func TestRecorder(t *testing.T) {
	const body = "[\"a\"]\n[\"T\"]\n[1]\n[22]\n[333]\n"
	for _, tc := range []struct {
		bytes, lines int
		keeps        string
		over         bool
		rows         int // of what is kept
	}{
		{100, 0, body, false, 3},
		{len(body), 5, body, false, 3},
		{100, 6, body, false, 3},
		{len(body) - 1, 0, body[:len(body)-1], true, 2},
		{100, 4, "[\"a\"]\n[\"T\"]\n[1]\n[22]\n", true, 2},
		{100, 2, "[\"a\"]\n[\"T\"]\n", true, 0},
		{8, 4, "[\"a\"]\n[\"", true, 0},
		{0, 4, "", true, 0},
	} {
		for piece := 1; piece <= len(body); piece++ {
			ended := false
			w := &recorder{header: http.Header{}, bytes: tc.bytes, lines: tc.lines, full: func() { ended = true }}
			for i := 0; i < len(body); i += piece {
				part := body[i:min(i+piece, len(body))]
				if n, err := w.Write([]byte(part)); (err != nil) != w.over || err == nil && n != len(part) {
					t.Fatalf("%+v in pieces of %d: %d, %v", tc, piece, n, err)
				}
			}
			if w.body.String() != tc.keeps || w.over != tc.over || ended != tc.over {
				t.Errorf("%+v in pieces of %d: %q, over %t, ended %t", tc, piece, w.body.String(), w.over, ended)
			}
			rows, err := readRows(w.body.Bytes(), w.over)
			if err != nil || len(rows.Rows) != tc.rows || rows.Truncated != tc.over {
				t.Errorf("%+v in pieces of %d: %+v, %v", tc, piece, rows, err)
			}
		}
	}
}

// What ClickHouse cannot have meant is an error and no answer.
func TestRowsThatAreNone(t *testing.T) {
	for _, body := range []string{"x\n", "[\"a\"]\nx\n", "[\"a\"]\n", "[\"a\"]\n[\"T\",\"U\"]\n", "[\"a\"]\n[\"T\"]\n[1\n", "[\"a\"]\n[\"T\"]\n[1"} {
		if rows, err := readRows([]byte(body), false); err == nil {
			t.Errorf("%q: %+v", body, rows)
		}
	}
	if rows, err := readRows(nil, false); err != nil || len(rows.Columns)+len(rows.Rows) != 0 || rows.Truncated {
		t.Errorf("nothing at all: %+v, %v", rows, err)
	}
}
