package main

import (
	"context"
	"flag"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
)

// turns is how often the streams are filled anew; `make soak` asks for fifty,
// which takes ten minutes.
var turns = flag.Float64("turns", 6, "how often the long life turns its streams over")

// Streams so small that a steady load turns them over again and again: they
// are trimmed, the door never refuses, disk stays flat, and verify agrees over
// all history although most of it is no longer in any stream.
func TestALongLifeInSmallStreams(t *testing.T) {
	m := testMill(t)
	m.rawSize = "4MiB"
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	if err := m.start(ctx); err != nil {
		t.Fatal(err)
	}
	s, err := parse([]string{"--rate", "2000", "--seed", "1"})
	if err != nil {
		t.Fatal(err)
	}
	l, err := newLab(s, m, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	l.padding.Store(640)
	quiet, stop := context.WithCancel(ctx)
	worked := make(chan error, 1)
	go func() { worked <- l.work(quiet, nil) }()
	if err := l.flowing(ctx); err != nil {
		t.Fatal(err)
	}
	life := newLife(t, m)
	// For some seconds after ClickHouse was started nothing is trimmed, because
	// the audit may need it. Streams as small as these do not hold that much, so
	// that some are full about the end of their first turn.
	for life.turned(ctx) < 2 && pause(ctx, 200*time.Millisecond) {
	}
	starting := l.refused()
	var early, late average // of bytes; the largest are of blocks being rewritten
	for ctx.Err() == nil {
		time.Sleep(200 * time.Millisecond) // how often progress is looked at
		turned := life.turned(ctx)
		size := diskUse(t, m.natsDir())
		if turned < 1+*turns/2 {
			early.add(size)
		} else {
			late.add(size)
		}
		if turned >= *turns {
			break
		}
	}
	refusals := l.refused() - starting
	stop()
	v := l.judge(ctx, <-worked)
	t.Logf("turned over %.1f times, %d events; mean disk use of NATS in the first half %d KB, in the second %d KB", life.turned(ctx), v.Accepted, early.mean()>>10, late.mean()>>10)
	if refusals > 0 {
		for _, p := range l.producers {
			t.Log(p.name, "was told last:", p.trouble())
		}
		t.Errorf("the door refused %d requests", refusals)
	}
	if late.mean() > early.mean()*5/4 {
		t.Errorf("disk use of NATS grew from %d to %d bytes", early.mean(), late.mean())
	}
	if !v.OK() {
		v.print(t.Output(), false)
		t.Error("the guarantee was broken")
	}
}

// average is the mean of what was added.
type average struct{ sum, count int64 }

func (a *average) add(n int64) { a.sum, a.count = a.sum+n, a.count+1 }
func (a *average) mean() int64 { return a.sum / max(a.count, 1) }

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
