package importer

import (
	"context"
	"fmt"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/millrace/millrace/services/millrace/client"
)

// batch is one request: events as NDJSON, or one line under an id of its own,
// which may be declared refused.
type batch struct {
	body    []byte
	places  []Place // of the events, in their order
	id      string
	refused string
}

func (b *batch) add(at Place, event []byte) {
	b.places = append(b.places, at)
	b.body = append(append(b.body, event...), '\n')
}

// reasonLimit keeps a declared reason within what servers take as a header.
const reasonLimit = 200

// declared is a line that is no event: it travels alone, with its own bytes,
// under its own id, so that it is one dead letter however often it is sent.
func declared(at Place, line []byte, id, reason string) *batch {
	reason = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, reason)
	return &batch{
		body: append([]byte(nil), line...), places: []Place{at},
		refused: reason[:min(len(reason), reasonLimit)], id: id,
	}
}

// sender compresses and sends batches. It is owned by one goroutine.
type sender struct {
	door Door
	zstd *zstd.Encoder
	buf  []byte
}

func newSender(door Door) *sender {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		panic(fmt.Sprintf("zstd refuses its own constant options: %v", err))
	}
	return &sender{door: door, zstd: enc}
}

// send does not cut a body into pieces however long the door takes: order
// between the events of a user does not matter to an import.
func (s *sender) send(ctx context.Context, b *batch) (client.Answer, error) {
	if b.refused != "" {
		return s.door.Post(ctx, client.Body{
			Type: "application/octet-stream", Data: b.body, Refused: b.refused, ID: b.id,
		})
	}
	s.buf = s.zstd.EncodeAll(b.body, s.buf[:0])
	return s.door.Post(ctx, client.Body{Type: "application/x-ndjson", Encoding: "zstd", Data: s.buf, ID: b.id})
}
