package event

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstded(t testing.TB, data []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(data, nil)
}

// streamed is zstd without the size in its header, as pipes produce it.
func streamed(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	for len(data) > 0 {
		n := min(len(data), 1<<20)
		if _, err := w.Write(data[:n]); err != nil {
			t.Fatal(err)
		}
		data = data[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestDecompress(t *testing.T) {
	l := DefaultLimits()
	d := NewDecompressor(l)
	// Text that does not compress to nothing, of exactly the limit.
	full := bytes.Repeat([]byte(benchEvent), l.MaxRequest/len(benchEvent)+1)[:l.MaxRequest]
	over := append(bytes.Clone(full), 'x')
	// What does not compress comes larger than it was.
	noise := make([]byte, l.MaxRequest)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise) // never fails
	for _, c := range []struct {
		name, encoding string
		body           []byte
		want           []byte
		err            error
	}{
		{"none", "", full, full, nil},
		{"identity", "identity", []byte("{}"), []byte("{}"), nil},
		{"none, empty", "", nil, nil, nil},
		{"none, over", "", over, nil, ErrTooLarge},
		{"gzip", "gzip", gzipped(t, full), full, nil},
		{"x-gzip", "x-gzip", gzipped(t, []byte("{}")), []byte("{}"), nil},
		{"gzip of nothing", "gzip", gzipped(t, nil), nil, nil},
		{"gzip in two members", "gzip", append(gzipped(t, []byte("{}")), gzipped(t, []byte("[]"))...), []byte("{}[]"), nil},
		{"gzip, over", "gzip", gzipped(t, over), nil, ErrTooLarge},
		{"gzip, over only as it comes", "gzip", gzipped(t, noise), nil, ErrTooLarge},
		{"zstd, over only as it comes", "zstd", zstded(t, noise), nil, ErrTooLarge},
		{"gzip bomb", "gzip", gzipped(t, make([]byte, 32<<20)), nil, ErrTooLarge},
		{"gzip, not", "gzip", []byte("{}"), nil, ErrDecompression},
		{"gzip, empty", "gzip", nil, nil, ErrDecompression},
		{"gzip, cut", "gzip", gzipped(t, full)[:1000], nil, ErrDecompression},
		{"gzip, wrong sum", "gzip", flip(gzipped(t, []byte("{}")), -6), nil, ErrDecompression},
		{"gzip with a tail", "gzip", append(gzipped(t, []byte("{}")), "tail"...), nil, ErrDecompression},
		{"zstd", "zstd", zstded(t, full), full, nil},
		{"zstd streamed", "zstd", streamed(t, full), full, nil},
		{"zstd of nothing", "zstd", streamed(t, nil), nil, nil},
		{"zstd, over", "zstd", zstded(t, over), nil, ErrTooLarge},
		{"zstd bomb", "zstd", zstded(t, make([]byte, 32<<20)), nil, ErrTooLarge},
		{"zstd bomb streamed", "zstd", streamed(t, make([]byte, 32<<20)), nil, ErrTooLarge},
		{"zstd, not", "zstd", []byte("{\"event\":1}"), nil, ErrDecompression},
		{"zstd, cut", "zstd", zstded(t, full)[:1000], nil, ErrDecompression},
		{"zstd, wrong sum", "zstd", flip(streamed(t, []byte("{\"a\":1}")), -1), nil, ErrDecompression},
		{"unknown", "br", []byte("{}"), nil, ErrEncoding},
		{"unknown list", "gzip, gzip", []byte("{}"), nil, ErrEncoding},
	} {
		t.Run(c.name, func(t *testing.T) {
			for range 2 { // the second time with pooled readers
				got, err := d.Append([]byte("before"), c.encoding, bytes.NewReader(c.body))
				if !errors.Is(err, c.err) {
					t.Fatalf("got %v, want %v", err, c.err)
				}
				if string(got) != "before"+string(c.want) {
					t.Fatalf("got %d bytes, want %d", len(got), len("before")+len(c.want))
				}
			}
		})
	}
}

func flip(data []byte, at int) []byte {
	data[len(data)+at] ^= 1
	return data
}

// A bomb that is large when it arrives must be refused before it is read whole.
func TestDecompressStopsReading(t *testing.T) {
	l := DefaultLimits()
	for _, encoding := range []string{"", "gzip", "zstd"} {
		body := &counter{r: io.MultiReader(bytes.NewReader(head(t, encoding)), neverEnding{})}
		if _, err := NewDecompressor(l).Append(nil, encoding, body); err == nil {
			t.Errorf("%q: an endless body is accepted", encoding)
		}
		if body.n > 2*l.MaxRequest {
			t.Errorf("%q: read %d bytes", encoding, body.n)
		}
	}
}

func head(t *testing.T, encoding string) []byte {
	switch encoding {
	case "gzip":
		return gzipped(t, []byte("{}"))[:10]
	case "zstd":
		return zstded(t, []byte("{}"))[:4]
	}
	return nil
}

type neverEnding struct{}

func (neverEnding) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

type counter struct {
	r io.Reader
	n int
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

// The source's own fault is not the encoding's.
func TestDecompressSourceFails(t *testing.T) {
	gone := errors.New("connection gone")
	for _, c := range []struct {
		encoding string
		body     []byte
	}{{"", []byte("{}")}, {"gzip", gzipped(t, []byte("{}"))}, {"zstd", zstded(t, []byte("{}"))}} {
		for n := range len(c.body) {
			body := io.MultiReader(bytes.NewReader(c.body[:n]), iotest.ErrReader(gone))
			_, err := NewDecompressor(DefaultLimits()).Append(nil, c.encoding, body)
			if !errors.Is(err, gone) || errors.Is(err, ErrDecompression) {
				t.Errorf("%q after %d bytes: got %v", c.encoding, n, err)
			}
		}
	}
}

func TestDecompressConcurrently(t *testing.T) {
	d := NewDecompressor(DefaultLimits())
	var wg sync.WaitGroup
	for i := range 8 {
		want := strings.Repeat(string(rune('a'+i)), 50_000)
		g, z := gzipped(t, []byte(want)), zstded(t, []byte(want))
		wg.Go(func() {
			for range 50 {
				for encoding, body := range map[string][]byte{"gzip": g, "zstd": z} {
					got, err := d.Append(nil, encoding, iotest.OneByteReader(bytes.NewReader(body)))
					if err != nil || string(got) != want {
						t.Errorf("%s: got %d bytes, %v", encoding, len(got), err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

// FuzzDecompress feeds broken streams: never a panic, never over the limit,
// and a reader that failed works for the next body.
func FuzzDecompress(f *testing.F) {
	f.Add(gzipped(f, []byte(benchEvent)), true)
	f.Add(zstded(f, []byte(benchEvent)), false)
	f.Add([]byte{}, true)
	f.Add([]byte("{}"), false)
	good := map[string][]byte{"gzip": gzipped(f, []byte(benchEvent)), "zstd": zstded(f, []byte(benchEvent))}
	l := DefaultLimits()
	l.MaxRequest = l.MaxEvent
	d := NewDecompressor(l)
	f.Fuzz(func(t *testing.T, body []byte, isGzip bool) {
		encoding := "zstd"
		if isGzip {
			encoding = "gzip"
		}
		got, err := d.Append(nil, encoding, bytes.NewReader(body))
		if len(got) > l.MaxRequest || (err != nil && len(got) > 0) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		if err != nil && !errors.Is(err, ErrTooLarge) && !errors.Is(err, ErrDecompression) {
			t.Fatalf("got %v", err)
		}
		if got, err := d.Append(nil, encoding, bytes.NewReader(good[encoding])); err != nil || string(got) != benchEvent {
			t.Fatalf("the next body: %q, %v", got, err)
		}
	})
}
