package event

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Decompressor reads request bodies under a bound, so that neither a large
// body nor a small one that expands (a bomb) costs more memory than the limit.
// It pools its readers and is safe for concurrent use.
type Decompressor struct {
	max  int
	gzip sync.Pool // of *gzip.Reader
	zstd sync.Pool // of *zstd.Decoder, which run in the caller's goroutine
}

// maxWindow bounds the memory of one zstd decoder. 8 MiB is what RFC 8878
// asks every decoder to support; larger windows are an encoder's option.
const maxWindow = 8 << 20

// minRead is the free space below which the output buffer grows.
const minRead = 4 << 10

// NewDecompressor returns a Decompressor for bodies of up to
// limits.MaxRequest bytes, compressed and decompressed.
func NewDecompressor(limits Limits) *Decompressor {
	return &Decompressor{max: limits.MaxRequest}
}

// Append reads body to its end, undoes the content encoding ("", "identity",
// "gzip", "x-gzip", "deflate" or "zstd", in small letters) and appends the result to dst,
// which it returns grown. Errors: ErrEncoding; ErrTooLarge when either side of
// the decompression is over the limit; ErrDecompression; an error of body
// itself is wrapped as it is.
func (d *Decompressor) Append(dst []byte, encoding string, body io.Reader) ([]byte, error) {
	in := &boundedReader{r: body, left: d.max}
	switch encoding {
	case "", "identity":
		return d.appendAll(dst, in, in)
	case "gzip", "x-gzip":
		return d.appendGzip(dst, in)
	case "zstd":
		return d.appendZstd(dst, in)
	case "deflate":
		return d.appendDeflate(dst, in)
	}
	return dst, ErrEncoding
}

func (d *Decompressor) appendGzip(dst []byte, in *boundedReader) ([]byte, error) {
	r, _ := d.gzip.Get().(*gzip.Reader)
	if r == nil {
		r = new(gzip.Reader)
	}
	defer func() {
		// A reader in the pool must not keep the body of its last request.
		in.r = bytes.NewReader(nil)
		d.gzip.Put(r)
	}()
	if err := r.Reset(in); err != nil {
		return dst, in.cause(err)
	}
	return d.appendAll(dst, r, in)
}

func (d *Decompressor) appendZstd(dst []byte, in *boundedReader) ([]byte, error) {
	r, _ := d.zstd.Get().(*zstd.Decoder)
	if r == nil {
		var err error
		r, err = zstd.NewReader(nil,
			zstd.WithDecoderConcurrency(1), // no goroutines, so the pool may drop it
			zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxWindow),
			zstd.WithDecoderMaxMemory(uint64(max(d.max, maxWindow))))
		if err != nil {
			return dst, fmt.Errorf("make a zstd decoder: %w", err)
		}
	}
	defer func() {
		// Reset to nothing lets go of the body; there is nothing in it to fail.
		_ = r.Reset(nil)
		d.zstd.Put(r)
	}()
	if err := r.Reset(in); err != nil {
		return dst, in.cause(err)
	}
	return d.appendAll(dst, r, in)
}

// appendAll reads r, which decompresses in, to its end.
func (d *Decompressor) appendAll(dst []byte, r io.Reader, in *boundedReader) ([]byte, error) {
	start := len(dst)
	for {
		if cap(dst)-len(dst) < minRead {
			dst = append(dst, make([]byte, max(minRead, len(dst)-start))...)[:len(dst)]
		}
		n, err := r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if len(dst)-start > d.max {
			return dst[:start], ErrTooLarge
		}
		if err == io.EOF {
			return dst, nil
		}
		if err != nil {
			return dst[:start], in.cause(err)
		}
	}
}

// boundedReader fails with ErrTooLarge past a number of bytes and remembers
// errors of its source, which decompressors may wrap or replace.
type boundedReader struct {
	r    io.Reader
	left int
	err  error
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.r.Read(p)
	b.left -= n
	if b.left < 0 {
		n, err = 0, ErrTooLarge
	}
	if err != nil {
		b.err = err
	}
	return n, err
}

// cause tells whose fault err is: the source's, the size's or the encoding's.
func (b *boundedReader) cause(err error) error {
	switch {
	case errors.Is(b.err, ErrTooLarge),
		errors.Is(err, zstd.ErrDecoderSizeExceeded),
		errors.Is(err, zstd.ErrWindowSizeExceeded):
		return ErrTooLarge
	case b.err != nil && !errors.Is(b.err, io.EOF):
		return fmt.Errorf("read the body: %w", b.err)
	}
	return fmt.Errorf("%w: %w", ErrDecompression, err)
}
