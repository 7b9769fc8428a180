package dialect

import (
	"testing"

	"github.com/millrace/millrace/libs/event"
)

// The events of the goldens, as SDKs send them.
const (
	benchNode = `{"timestamp":"2026-03-01T09:31:00.123Z","integrations":{},"event":"Order Completed","type":"track","properties":{"revenue":12.5,"currency":"EUR","coupon":"SPRING"},` +
		`"context":{"library":{"name":"@segment/analytics-node","version":"3.1.0"}},"userId":"u1","messageId":"node-next-1795467665456-9cc35ddb-af11-4d45-a514-16f0136bf325","_metadata":{"nodeVersion":"v20.20.2","jsRuntime":"node"}}`
	benchGo = `{"type":"track","messageId":"c0ba281f-72f9-459b-961a-435d2b495165","userId":"u1","event":"Order Completed","timestamp":"2026-03-01T09:31:00.123Z","properties":{"revenue":12.5}}`
	benchJS = `{"uuid":"01a20a36-6469-7e04-b8b0-5367b042335f","event":"button pressed","properties":{"token":"phc_1","distinct_id":"019d","$device_id":"019d","$is_identified":false,"$session_id":"019e",` +
		`"$lib":"web","$lib_version":"1.449.2","$current_url":"https://shop.example/cart?utm_source=news","$host":"shop.example","$pathname":"/cart","$referrer":"https://news.example/",` +
		`"$raw_user_agent":"Mozilla/5.0 (X11; Linux x86_64)","utm_source":"news"},"timestamp":"2026-03-01T09:31:00.123Z"}`
	benchCloud = `{"specversion":"1.0","id":"A234","source":"/orders","type":"order.placed","time":"2026-03-01T09:31:00Z","subject":"u7","data":{"total":1.50,"items":[1,2]}}`
)

func batchOf(e string, n int, rest string) []byte {
	body := []byte(`{"batch":[`)
	for range n {
		body = append(event.AppendComma(body), e...)
	}
	return append(append(append(body, ']'), rest...), '}')
}

// BenchmarkMap shows what a dialect costs an event, before it is scanned:
// batches of 100, time divided by that.
func BenchmarkMap(b *testing.B) {
	limits := event.DefaultLimits()
	bare := batchOf(benchCloud, 100, "")
	bare = bare[len(`{"batch":`) : len(bare)-1]
	for _, c := range []struct {
		name string
		m    Mapper
		body []byte
	}{
		{"analytics-node", NewSegment(limits), batchOf(benchNode, 100, `,"writeKey":"wk","sentAt":"2026-03-01T09:31:02.000Z"`)},
		{"analytics-go", NewSegment(limits), batchOf(benchGo, 100, `,"sentAt":"2026-03-01T09:31:02.000Z","context":{"library":{"name":"analytics-go","version":"3.0.0"}}`)},
		{"posthog-js", NewPostHog(limits), batchOf(benchJS, 100, `,"api_key":"phc_1","sent_at":"2026-03-01T09:31:02.000Z"`)},
		{"cloudevents", NewCloudEvents(limits), bare},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := &Request{Path: "/v1/batch", Body: c.body}
			b.SetBytes(int64(len(c.body)))
			b.ReportAllocs()
			for b.Loop() {
				if mapped, err := c.m.Map(r); err != nil || len(mapped.Events) != 100 || mapped.Events[99].Canonical == nil {
					b.Fatal(len(mapped.Events), err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/event")
		})
	}
}
