package event

import (
	"bytes"
	"errors"
	"testing"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zlib"
)

func zlibbed(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func deflated(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.DefaultCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestDeflate: in zlib's frame and without it.
func TestDeflate(t *testing.T) {
	l := DefaultLimits()
	d := NewDecompressor(l)
	full := bytes.Repeat([]byte(benchEvent), l.MaxRequest/len(benchEvent)+1)[:l.MaxRequest]
	over := append(bytes.Clone(full), 'x')
	for _, c := range []struct {
		name string
		body []byte
		want []byte
		err  error
	}{
		{"zlib", zlibbed(t, full), full, nil},
		{"bare", deflated(t, full), full, nil},
		{"zlib of nothing", zlibbed(t, nil), nil, nil},
		{"zlib, over", zlibbed(t, over), nil, ErrTooLarge},
		{"bare, over", deflated(t, over), nil, ErrTooLarge},
		{"bomb", zlibbed(t, make([]byte, 32<<20)), nil, ErrTooLarge},
		{"cut", zlibbed(t, full)[:1000], nil, ErrDecompression},
		{"wrong sum", flip(zlibbed(t, []byte("{}")), -1), nil, ErrDecompression},
		{"neither", []byte("{\"event\":1}"), nil, ErrDecompression},
		{"empty", nil, nil, ErrDecompression},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := d.Append([]byte("before"), "deflate", bytes.NewReader(c.body))
			if !errors.Is(err, c.err) || string(got) != "before"+string(c.want) {
				t.Fatalf("%v, want %v; %d bytes, want %d", err, c.err, len(got), len("before")+len(c.want))
			}
		})
	}
}
