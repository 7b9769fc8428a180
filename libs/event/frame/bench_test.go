package frame

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// shopBody is an event of about 600 bytes, as a browser SDK sends it.
func shopBody(r *rand.Rand) []byte {
	return fmt.Appendf(nil, `{"type":"track","event":"Product Viewed","messageId":"%08x-%04x-7%03x-%012x","anonymousId":"a-%d","userId":"u-%d","timestamp":"2026-11-%02dT%02d:%02d:%02d.%03dZ","properties":{"product_id":"sku-%d","price":%d.%02d,"quantity":%d,"category":"shoes/%d","currency":"EUR"},"context":{"page":{"url":"https://shop.example/p/%d?utm_source=newsletter&utm_campaign=c%d","title":"Product %d","referrer":"https://search.example/"},"userAgent":"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%d.0.0.0 Safari/537.36","ip":"203.0.113.%d","locale":"de-DE"}}`,
		r.Uint32(), r.IntN(1<<16), r.IntN(1<<12), r.Int64N(1<<48), r.IntN(50000), r.IntN(50000), 1+r.IntN(28), r.IntN(24), r.IntN(60), r.IntN(60), r.IntN(1000),
		r.IntN(5000), r.IntN(200), r.IntN(100), 1+r.IntN(3), r.IntN(9), r.IntN(5000), r.IntN(40), r.IntN(5000), 90+r.IntN(40), r.IntN(256))
}

const perFrame = 100

func rawBlock() *Block {
	r := rand.New(rand.NewPCG(1, 2))
	b := NewBlock(RawSchema)
	for range perFrame {
		fillRaw(b, shopBody(r))
	}
	return b
}

func fillRaw(b *Block, body []byte) {
	b.Text(RawSource, "shop")
	b.Text(RawDoor, "http")
	b.Text(RawIP, "203.0.113.7")
	b.Text(RawUserAgent, "analytics-node-next/latest")
	b.Millis(RawSentAt, 0)
	b.U64(RawInSeq, 0)
	b.Text(RawEventID, "")
	b.Text(RawReason, "")
	b.Text(RawDetail, "")
	b.Str(RawBody, body)
	b.EndRow()
}

func perEvent(b *testing.B, native, packed int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/perFrame, "ns/event")
	b.ReportMetric(float64(native)/float64(packed), "ratio")
	b.ReportMetric(float64(packed)/perFrame, "B/event")
}

// The packings that were weighed for docs/decisions/0001-frames.md, there and
// back again.
func BenchmarkPacking(b *testing.B) {
	native := rawBlock().AppendNative(nil)
	enc, _ := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	dec, _ := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	for _, c := range []struct {
		name   string
		pack   func(dst, src []byte) []byte
		unpack func(dst, src []byte) ([]byte, error)
	}{
		{"none", func(dst, src []byte) []byte { return append(dst[:0], src...) }, func(dst, src []byte) ([]byte, error) { return append(dst[:0], src...), nil }},
		{"snappy", Pack, Unpack},
		{"s2", func(dst, src []byte) []byte { return s2.Encode(dst[:cap(dst)], src) }, func(dst, src []byte) ([]byte, error) { return s2.Decode(dst[:cap(dst)], src) }},
		{"zstd-fastest", func(dst, src []byte) []byte { return enc.EncodeAll(src, dst[:0]) }, func(dst, src []byte) ([]byte, error) { return dec.DecodeAll(src, dst[:0]) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			var packed, back []byte
			b.ReportAllocs()
			for b.Loop() {
				packed = c.pack(packed, native)
				var err error
				if back, err = c.unpack(back, packed); err != nil {
					b.Fatal(err)
				}
			}
			perEvent(b, len(native), len(packed))
		})
	}
}

func BenchmarkJoinRows(b *testing.B) {
	native := sample(perFrame, 0).AppendNative(nil)
	block, j := NewBlock(RowSchema), NewJoiner(RowSchema)
	b.ReportAllocs()
	for b.Loop() {
		if block.Rows() > 100_000 {
			block.Reset()
		}
		if _, err := j.Append(block, native); err != nil {
			b.Fatal(err)
		}
	}
	perEvent(b, 1, 1)
}

func BenchmarkParseRaw(b *testing.B) {
	native := rawBlock().AppendNative(nil)
	v := NewView(RawSchema)
	b.ReportAllocs()
	for b.Loop() {
		if err := v.Parse(native); err != nil {
			b.Fatal(err)
		}
	}
	perEvent(b, 1, 1)
}
