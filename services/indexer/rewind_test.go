package indexer

import (
	"context"
	"errors"
	"testing"

	"golang.org/x/sync/errgroup"
)

// Shards are rewound at any batch, while their readers and the collector work on:
// every frame is read again, none is skipped, and none goes in twice.
func TestRewindsAtAnyTimeLoseNothing(t *testing.T) {
	r := newRig(t, 3)
	s, c := r.twin(r.indexer(func(c *Config) { c.MaxRows = 40 }))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	free, out := make(chan *batch, 2), make(chan *batch)
	free <- s.newBatch()
	free <- s.newBatch()
	g, ctx := errgroup.WithContext(ctx)
	for _, sh := range s.shards {
		g.Go(func() error { return sh.run(ctx, nil) })
	}
	g.Go(func() error { return s.collect(ctx, s.arrivals, free, out) })
	const frames = 60
	g.Go(func() error {
		for n := 0; ; n++ {
			var b *batch
			select {
			case b = <-out:
			case <-ctx.Done():
				return ctx.Err()
			}
			if lane := n % 4; lane < 3 && n < 24 {
				s.shards[lane].rewind(c.state()[lane].Proven+1, 0, errors.New("as if a frame were damaged"))
			}
			if err := s.commit(ctx, c, b); err != nil {
				return err
			}
			b.reset()
			free <- b
			if err := c.close(ctx); err != nil {
				return err
			}
		}
	})
	for range frames {
		for shard := range 3 {
			r.feed(shard, 1+shard, plain)
		}
	}
	for shard := range 3 {
		r.settled(shard, frames)
	}
	cancel()
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for shard := range 3 {
		r.exact(shard, 0)
		if life, _, _ := s.shards[shard].position(); life == 0 {
			t.Errorf("shard %d was never rewound", shard)
		}
	}
}

// What a reading says after its shard was rewound counts for nothing, and one
// that began in between ends: nobody takes its frames.
func TestAReadingOfAnEarlierLifeMovesNothing(t *testing.T) {
	s := &shard{next: 5}
	life, _, _ := s.position()
	s.passed(life, 7)
	s.rewind(6, 6, errors.New("damaged"))
	if s.begin(life, func(error) {}) {
		t.Error("a reading begins as a life that is over")
	}
	s.passed(life, 8)
	if now, next, suspect := s.position(); now == life || next != 6 || suspect != 6 {
		t.Errorf("life %d reads on from frame %d because of %d, want another life and 6 because of 6", now, next, suspect)
	}
	now, _, _ := s.position()
	var stopped error
	if !s.begin(now, func(why error) { stopped = why }) {
		t.Error("a reading of this life does not begin")
	}
	if _, _, suspect := s.position(); suspect != 0 {
		t.Errorf("frame %d is looked at again although the shard is open", suspect)
	}
	if s.rewind(6, 0, ErrGap); !errors.Is(stopped, ErrGap) {
		t.Errorf("a rewind ends the reading with %v", stopped)
	}
}
