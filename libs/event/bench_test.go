package event

import (
	"bytes"
	"testing"
)

// benchEvent is a page-like track call as a browser SDK sends it: 628 bytes,
// the mean of the events that the project measures with.
const benchEvent = `{"type":"track","event":"Product Viewed","messageId":"ajs-next-1763868823000-5c3f4a1e-8f0b-4c55",` +
	`"userId":"user-18234","anonymousId":"7d1f0a52-0f6c-4a9e-b1d3-2f5e8c9a6b70","timestamp":"2025-11-23T03:43:12.345Z",` +
	`"sentAt":"2025-11-23T03:43:13.001Z","properties":{"sku":"SKU-48213","price":1299.95,"quantity":2,"category":"shoes","in_stock":true},` +
	`"context":{"ip":"203.0.113.77","locale":"en-GB","userAgent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",` +
	`"page":{"url":"https://shop.example/p/48213","path":"/p/48213","referrer":"https://shop.example/","title":"All Shoes"}}}`

func BenchmarkScan(b *testing.B) {
	data := []byte(benchEvent)
	s := NewScanner(DefaultLimits())
	var e Event
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if r := s.Scan(data, &e); r != nil {
			b.Fatal(r)
		}
	}
}

// BenchmarkScanEscaped has an escape in nearly every string and text beyond ASCII.
func BenchmarkScanEscaped(b *testing.B) {
	data := bytes.ReplaceAll([]byte(benchEvent), []byte("shop"), []byte(`sh\u00f6p\/`))
	data = bytes.ReplaceAll(data, []byte("Shoes"), []byte("Schuhe für Großeltern 👟"))
	s := NewScanner(DefaultLimits())
	var e Event
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if r := s.Scan(data, &e); r != nil {
			b.Fatal(r)
		}
	}
}

func BenchmarkSplit(b *testing.B) {
	var array, lines []byte
	for range 100 {
		array = append(append(array, ','), benchEvent...)
		lines = append(append(lines, benchEvent...), '\n')
	}
	array[0] = '['
	array = append(array, ']')
	for _, c := range []struct {
		name   string
		body   []byte
		ndjson bool
	}{
		{"array", array, false},
		{"values", lines, false},
		{"ndjson", lines, true},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := NewSplitter(DefaultLimits())
			b.SetBytes(int64(len(c.body)))
			b.ReportAllocs()
			for b.Loop() {
				n, err := s.Split(c.body, c.ndjson, func(int, []byte, *Refusal) error { return nil })
				if n != 100 || err != nil {
					b.Fatal(n, err)
				}
			}
		})
	}
}

func BenchmarkParseTime(b *testing.B) {
	text := []byte("2025-11-23T03:43:12.345Z")
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := ParseTime(text); !ok {
			b.Fatal("not a time")
		}
	}
}

func BenchmarkIDs(b *testing.B) {
	var dst []byte
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			dst = AppendNewID(dst[:0])
		}
	})
	b.Run("derived", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			dst = AppendDerivedID(dst[:0], 1, 2, 3)
		}
	})
	b.Run("keyed", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			dst = AppendKeyedID(dst[:0], "demo", "0b6f2c1e-order-77", 3)
		}
	})
}

func BenchmarkShardOf(b *testing.B) {
	user := []byte("7d1f0a52-0f6c-4a9e-b1d3-2f5e8c9a6b70")
	for b.Loop() {
		ShardOf("demo", user, 4)
	}
}
