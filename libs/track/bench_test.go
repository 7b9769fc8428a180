//go:build unix

package track

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// BenchmarkTrack is what a call costs, encoding included, and what the batches
// cost beside it; the stream takes everything at once. BenchmarkToIn in
// services/millrace/tracked goes to a real one.
func BenchmarkTrack(b *testing.B) {
	for name, m := range map[string]Track{
		"small": {UserID: "ada", Event: "seen"},
		"order": {
			UserID: "5f1c0f6e-ada", AnonymousID: "d0b5a3c2-7a31-4f0e-9d3c-9a0d1b2c3d4e", Event: "Order Completed",
			Properties: Properties{"order_id": "o-1234567", "total": 129.9, "currency": "EUR", "products": []string{"a", "b"}, "first": false},
			Context:    Context{"ip": "192.0.2.1", "userAgent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "locale": "de-AT"},
		},
	} {
		for _, parallel := range []bool{false, true} {
			kind := "/one_goroutine"
			if parallel {
				kind = "/all_cores"
			}
			b.Run(name+kind, func(b *testing.B) {
				forgets := way{publish: func(context.Context, *nats.Msg) (uint64, error) { return 1, nil }, most: func() int64 { return 0 }}
				c, err := start(forgets, "shop", []Option{QueueLimit(1<<30, 1<<40)})
				if err != nil {
					b.Fatal(err)
				}
				ctx := b.Context()
				b.ReportAllocs()
				before := cpu(b)
				b.ResetTimer()
				if parallel {
					b.RunParallel(func(pb *testing.PB) {
						for pb.Next() {
							c.Track(ctx, m)
						}
					})
				} else {
					for range b.N {
						c.Track(ctx, m)
					}
				}
				closed(b, c)
				b.StopTimer()
				if st := c.Stats(); st.Acknowledged != uint64(b.N) {
					b.Errorf("%+v", st)
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
				b.ReportMetric(float64(b.N)/(cpu(b)-before).Seconds(), "events/cpu-s") // whoever else uses the machine
			})
		}
	}
}

// BenchmarkNewID is part of it.
func BenchmarkNewID(b *testing.B) {
	now := time.Now()
	for range b.N {
		newID(now)
	}
}

// cpu is what this process has used.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
