package ingester

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/svc"
)

// BenchmarkHTTP is the whole door: HTTP over loopback, an embedded NATS, files
// on disk. Its CPU includes the clients' and NATS's.
func BenchmarkHTTP(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprint(n, "_events"), func(b *testing.B) {
			s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: b.TempDir(), NoSigs: true, NoLog: true, MaxPayload: 8 << 20})
			if err != nil {
				b.Fatal(err)
			}
			s.Start()
			defer s.Shutdown()
			cfg := Config{
				Bus: bus.Config{URL: s.ClientURL()}, Addr: "127.0.0.1:0", ManageStreams: true,
				Plan: bus.Plan{Sizes: bus.Sizes{In: 1 << 20, Raw: 4 << 30, Enriched: 1 << 20, Dead: 1 << 20}},
				Log:  discard(), Reg: prometheus.NewRegistry(), Health: svc.NewHealth(),
			}
			if err := cfg.WriteKeys.Set("shop:" + testKey); err != nil {
				b.Fatal(err)
			}
			in, err := New(cfg)
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(b.Context())
			done := make(chan error, 1)
			go func() { done <- in.Run(ctx) }()
			<-in.opened
			http.DefaultTransport.(*http.Transport).MaxIdleConnsPerHost = 256
			var seq atomic.Int64
			b.SetParallelism(32)
			before := cpuTime(b)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				var body strings.Builder
				for pb.Next() {
					body.Reset()
					for range n {
						i := seq.Add(1)
						fmt.Fprintf(&body, benchEvent+"\n", i, i%977)
					}
					req, err := http.NewRequest("POST", "http://"+in.Addr()+pathEvents, strings.NewReader(body.String()))
					if err != nil {
						b.Error(err)
						return
					}
					req.Header.Set("X-Write-Key", testKey)
					resp, err := http.DefaultClient.Do(req)
					if err != nil {
						b.Error(err)
						return
					}
					if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 200 {
						b.Errorf("%d %v", resp.StatusCode, err)
					}
					resp.Body.Close()
				}
			})
			b.StopTimer()
			b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/float64(b.N*n), "cpu-ns/event")
			b.ReportMetric(float64(seq.Load())/counterValue(in.m.frames), "events/frame")
			cancel()
			if err := <-done; err != nil {
				b.Error(err)
			}
		})
	}
}

// cpuTime is what the process has used: unlike the clock it does not depend on
// who else uses the machine.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// benchEvent is an event of about 540 bytes, with a number and a user.
const benchEvent = `{"type":"track","event":"Order Completed","messageId":"m-%06d","userId":"user-%05d","timestamp":"2026-01-02T03:04:05.678Z",` +
	`"properties":{"order_id":"o-1","total":129.95,"currency":"EUR","coupon":null,"products":[{"sku":"a","price":12.5},{"sku":"b","price":8}]},` +
	`"context":{"page":{"url":"https://shop.example/cart?utm_source=mail","path":"/cart","referrer":"https://shop.example/","title":"Cart"},` +
	`"userAgent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36","locale":"de-DE"}}`

// BenchmarkAccept is the door without HTTP and NATS: bodies to packed frames.
func BenchmarkAccept(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprint(n, "_events"), func(b *testing.B) {
			d := memoryDoor(b, 4)
			var events []string
			for i := range n {
				events = append(events, fmt.Sprintf(benchEvent, i, i%977))
			}
			body := []byte("[" + strings.Join(events, ",") + "]")
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				in := d.intakes.Get().(*intake)
				in.start(origin{door: doorHTTP, source: "shop", ip: "192.0.2.7", userAgent: "bench"})
				if err := in.read(body); err != nil {
					b.Fatal(err)
				}
				if err := d.put(in, time.Now().Add(time.Hour), ignore); err != nil {
					b.Fatal(err)
				}
				d.intakes.Put(in)
				for _, l := range d.lanes { // what the lane's goroutine does, without NATS
					for {
						p, _, _ := l.next(inAnHour)
						if p == nil {
							break
						}
						l.native = p.block.AppendNative(l.native[:0])
						p.body = frame.Pack(p.body[:0], l.native)
						l.finish(p, 1, nil)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/event")
		})
	}
}
