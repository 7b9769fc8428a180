package tracked

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/testkit"
	"github.com/millrace/millrace/libs/track"
)

// BenchmarkToIn is the way from the call into the stream IN: an embedded NATS over loopback, files on disk. Its CPU seconds
// include NATS's.
func BenchmarkToIn(b *testing.B) {
	for _, callers := range []int{1, 8} { // for each core
		b.Run(fmt.Sprint(callers, "_callers"), func(b *testing.B) {
			n := testkit.StartNATS(b, func(o *server.Options) { o.MaxPayload = 1 << 20 })
			js := n.Connect()
			names := bus.Names{Prefix: bus.DefaultPrefix}
			if _, err := js.CreateStream(b.Context(), jetstream.StreamConfig{
				Name: names.StreamIn(), Subjects: []string{names.In("*")}, MaxBytes: 1 << 30, Duplicates: 2 * time.Minute,
			}); err != nil {
				b.Fatal(err)
			}
			var failed failures
			c := client(b, connect(b, n.URL), track.OnError(failed.add))
			m := track.Track{
				UserID: "5f1c0f6e-ada", AnonymousID: "d0b5a3c2-7a31-4f0e-9d3c-9a0d1b2c3d4e", Event: "Order Completed",
				Properties: track.Properties{"order_id": "o-1234567", "total": 129.9, "currency": "EUR", "products": []string{"a", "b"}, "first": false},
				Context:    track.Context{"ip": "192.0.2.1", "userAgent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "locale": "de-AT"},
			}
			ctx := b.Context()
			before := cpu(b)
			b.ReportAllocs()
			b.SetParallelism(callers)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					c.Track(ctx, m)
					if i%1000 == 0 && c.Stats().Waiting > 50_000 { // as fast as NATS takes them, and no faster
						if err := c.Flush(ctx); err != nil {
							b.Error(err)
						}
					}
				}
			})
			end(b, c)
			b.StopTimer()
			failed.none(b)
			st := c.Stats()
			if st.Acknowledged != uint64(b.N) {
				b.Errorf("%+v", st)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(b.N)/(cpu(b)-before).Seconds(), "events/cpu-s")
			b.ReportMetric(float64(st.Acknowledged)/float64(st.Messages), "events/message")
		})
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
