package event

import (
	"bufio"
	"io"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zlib"
)

// appendDeflate undoes "deflate", which is zlib by RFC 9110 and bare DEFLATE by what some clients send. Few send either, so
// there is no pool.
func (d *Decompressor) appendDeflate(dst []byte, in *boundedReader) ([]byte, error) {
	buffered := bufio.NewReader(in)
	head, _ := buffered.Peek(2) // an error comes again with the first read
	var r io.ReadCloser
	if len(head) == 2 && head[0]&0x0f == 8 && (uint(head[0])<<8|uint(head[1]))%31 == 0 {
		var err error
		if r, err = zlib.NewReader(buffered); err != nil {
			return dst, in.cause(err)
		}
	} else {
		r = flate.NewReader(buffered)
	}
	return d.appendAll(dst, r, in)
}
