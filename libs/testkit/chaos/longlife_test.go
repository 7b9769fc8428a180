package chaos

import (
	"context"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
)

// turns is how often the streams are filled anew; `make soak` asks for fifty,
// which takes ten minutes.
var turns = flag.Float64("turns", 4, "how often the long life turns its streams over")

// Streams so small that a steady load turns them over again and again: they
// are trimmed, the door never refuses, disk stays flat, and verify agrees over
// all history although most of it is no longer in any stream.
func TestALongLifeInSmallStreams(t *testing.T) {
	m := newMill(t)
	m.rawSize = "4MiB"
	m.startNATS()
	for _, name := range []string{"ingester", "enricher", "indexer", "query"} {
		m.startService(name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	var accepted, refused atomic.Int64
	warm := &http.Client{Timeout: 15 * time.Second}
	eventuallyAccepted(ctx, t, m, warm, &accepted)

	done := make(chan struct{})
	var producers sync.WaitGroup
	for p := range 4 {
		producers.Go(func() { steady(ctx, t, m, p, done, &accepted, &refused) })
	}
	life := newLife(t, m)
	var early, late int64
	for ctx.Err() == nil {
		time.Sleep(200 * time.Millisecond) // how often progress is looked at
		turned := life.turned(ctx)
		size := diskUse(t, m.natsDir)
		if turned < *turns/2 {
			early = max(early, size)
		} else {
			late = max(late, size)
		}
		if turned >= *turns {
			break
		}
	}
	close(done)
	producers.Wait()
	t.Logf("turned over %.1f times, %d events; largest disk use of NATS in the first half %d KB, in the second %d KB", life.turned(ctx), accepted.Load(), early>>10, late>>10)
	if n := refused.Load(); n > 0 {
		t.Errorf("the door refused %d requests", n)
	}
	if late > early*5/4 {
		t.Errorf("disk use of NATS grew from %d to %d bytes", early, late)
	}
	m.exact(uint64(accepted.Load()))
}

func eventuallyAccepted(ctx context.Context, t *testing.T, m *mill, client *http.Client, accepted *atomic.Int64) {
	for ctx.Err() == nil {
		if n, err := post(ctx, client, m.doors[0], body("warm", 0)); err == nil {
			accepted.Add(int64(n))
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("the door never opened")
}

// bulky is a request of events that do not compress, so that few of them fill
// a stream.
func bulky(producer string, first int) []byte {
	r := rand.New(rand.NewPCG(uint64(first), uint64(producer[0])))
	b := []byte{'['}
	for i := range perRequest {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `{"event":"Counted","messageId":"%s-%d","userId":"u%d","properties":{"n":%d,"pad":"`, producer, first+i, (first+i)%997, first+i)
		for range 40 {
			b = fmt.Appendf(b, "%016x", r.Uint64())
		}
		b = append(b, `"}}`...)
	}
	return append(b, ']')
}

// steady sends five requests a second; 429 and 503 count as refusals.
func steady(ctx context.Context, t *testing.T, m *mill, p int, done <-chan struct{}, accepted, refused *atomic.Int64) {
	client := &http.Client{Timeout: 15 * time.Second}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	name := string(rune('a' + p))
	for first := 0; ; first += perRequest {
		select {
		case <-done:
			return
		case <-ctx.Done():
			t.Error("the long life took too long")
			return
		case <-tick.C:
		}
		for {
			n, err := post(ctx, client, m.doors[p%2], bulky(name, first))
			if err == nil {
				accepted.Add(int64(n))
				break
			}
			if ctx.Err() != nil {
				return
			}
			refused.Add(1)
			t.Logf("refused: %v", err)
			time.Sleep(time.Second)
		}
	}
}

// life follows how much has gone through the shards' streams.
type life struct {
	js    jetstream.JetStream
	names bus.Names
	frame float64 // bytes of a frame, as seen
}

func newLife(t *testing.T, m *mill) *life {
	t.Helper()
	nc, err := nats.Connect("nats://" + address(m.natsPort))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return &life{js: js, names: bus.Names{Prefix: bus.DefaultPrefix}}
}

// turned is how often RAW_0 could have been filled with what went through it.
func (l *life) turned(ctx context.Context) float64 {
	s, err := l.js.Stream(ctx, l.names.StreamRaw(0))
	if err != nil {
		return 0
	}
	info := s.CachedInfo()
	if info.State.Msgs > 0 {
		l.frame = max(l.frame, float64(info.State.Bytes)/float64(info.State.Msgs))
	}
	return float64(info.State.LastSeq) * l.frame / float64(info.Config.MaxBytes)
}

func diskUse(t *testing.T, dir string) (total int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // files come and go while the server works
		}
		if info, err := d.Info(); err == nil {
			total += info.Size()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return total
}
