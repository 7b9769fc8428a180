package enricher

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/libs/bus"
)

func TestTwinsWithoutLeasesMisnumberNothing(t *testing.T) {
	r := newRig(t, 1)
	kv, err := r.js.KeyValue(t.Context(), r.inst.Names.BucketLeases())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var fenced atomic.Int64
	for n := range 2 {
		e := r.twin(n)
		cfg := bus.Config{URL: r.url}
		nc, _, err := cfg.Connect("twin", discard())
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			defer nc.Close()
			for life := 0; ctx.Err() == nil; life++ {
				// Each leaves now and then, so that the other gets its turn.
				own, leave := context.WithTimeout(ctx, time.Duration(150+70*(life%5)+90*n)*time.Millisecond)
				if err := e.own(own, nc, r.inst, kv, 0); errors.Is(err, ErrFenced) {
					fenced.Add(1)
				} else if own.Err() == nil {
					t.Errorf("a twin ended with %v", err)
				}
				leave()
			}
		})
	}
	frames, deadline := 0, time.Now().Add(time.Minute)
	var last uint64
	for n := 0; n < 400 || fenced.Load() == 0 && time.Now().Before(deadline); n++ {
		frames++
		last = r.raw(0, sent{body: track(fmt.Sprint("m", n), "u")}, sent{body: track(fmt.Sprint("m", n/2), "u")}, sent{body: "x", reason: "malformed"})
	}
	r.answered(0, last)
	stop()
	wg.Wait()
	writers := map[string]int{}
	for _, a := range r.answers(0) {
		wantRepeats := 1
		if a.verdict.Repeats != wantRepeats || a.verdict.Rows != 1 || a.verdict.Dead() != 1 {
			t.Fatalf("frame %d: %+v", a.seq, a.verdict)
		}
		writers[a.check.Writer]++
	}
	t.Logf("%d writers, fenced %d times", len(writers), fenced.Load())
	if fenced.Load() == 0 || len(writers) < 2 {
		t.Error("the twins were never in each other's way")
	}
	if got := len(r.dead()); got != frames {
		r.enricher()
		eventually(t, "the next owner brings the rest of the dead letters out", func() bool { return len(r.dead()) == frames })
	}
}

func (r *rig) twin(n int) *Enricher {
	x := r.enricher(func(c *Config) { c.Bus.Prefix = fmt.Sprint("nobody", n) }) // it never finds its streams
	return x.e
}
