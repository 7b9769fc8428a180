package tail

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/svc"
)

const (
	firstDelay = 50 * time.Millisecond
	lastDelay  = 2 * time.Second
	openTime   = 5 * time.Second // for the calls that open a consumer
	// farBehind is by how many proven frames a follower may be behind before it leaves them out.
	farBehind = 10_000
)

// begin finds out how many shards there are, and their watermarks: from there on they are followed.
func (t *Tail) begin(ctx context.Context) error {
	var shards []*shard
	err := svc.Retry(ctx, t.cfg.Log, "find the watermarks", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, openTime)
		defer cancel()
		inst, err := bus.Open(ctx, t.cfg.JS, t.cfg.Names)
		if err != nil {
			return err
		}
		ledger, err := t.cfg.JS.Stream(ctx, t.cfg.Names.StreamLedger())
		if err != nil {
			return fmt.Errorf("look up stream %s: %w", t.cfg.Names.StreamLedger(), err)
		}
		shards = make([]*shard, inst.Shards)
		for i := range shards {
			rec, _, err := bus.LedgerLast(ctx, ledger, t.cfg.Names, inst.SinkOf(i))
			if err != nil {
				return err
			}
			proven := rec.Share(i).Proven
			shards[i] = &shard{first: proven + 1, last: proven, indexed: proven, base: proven, changed: make(chan struct{})}
		}
		return nil
	})
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.shards = shards
	close(t.ready)
	return nil
}

// follow reads a shard until ctx is done.
func (t *Tail) follow(ctx context.Context, i int) error {
	delay := firstDelay
	var lines svc.Repeated
	for {
		began := time.Now()
		err := t.followOnce(ctx, i)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Since(began) > 2*lastDelay {
			delay = firstDelay
			lines.Over()
		}
		t.stopped(i, err)
		t.m.reopened.Inc()
		if times, due := lines.Again(); due {
			t.cfg.Log.Warn("following the enriched frames begins again", "shard", i, "times", times, "err", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(delay - rand.N(delay/2)): //nolint:gosec // no secret
		}
		delay = min(2*delay, lastDelay)
	}
}

func (t *Tail) followOnce(ctx context.Context, i int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream := t.cfg.Names.StreamEnriched(i)
	t.mu.Lock()
	last := t.shards[i].last
	if mark := t.mark(i); mark > last+farBehind { // what is proven already need not come first
		t.skip(i, mark)
		last = mark
	}
	t.mu.Unlock()
	open, opening := context.WithTimeout(ctx, openTime)
	defer opening()
	switch s, err := t.cfg.JS.Stream(open, stream); {
	case err != nil:
		return fmt.Errorf("follow %s: %w", stream, err)
	case s.CachedInfo().State.LastSeq < last: // a consumer would wait in silence until it is as long again
		return fmt.Errorf("follow %s: %w: it ends at %d, frames up to %d were read", stream, ErrWentBack, s.CachedInfo().State.LastSeq, last)
	}
	consumer, err := t.cfg.JS.OrderedConsumer(open, stream, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: last + 1,
		MaxResetAttempts: 1, // follow's own loop is quicker to find a NATS that has come back
	})
	if err != nil {
		return fmt.Errorf("follow %s: %w", stream, err)
	}
	msgs, err := consumer.Messages(jetstream.PullMaxMessages(1024), jetstream.PullHeartbeat(2*time.Second), jetstream.PullExpiry(10*time.Second))
	if err != nil {
		return fmt.Errorf("follow %s: %w", stream, err)
	}
	defer msgs.Stop()
	t.stopped(i, nil)
	for {
		msg, err := msgs.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("follow %s: %w", stream, err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return fmt.Errorf("follow %s: %w", stream, err)
		}
		seq := meta.Sequence.Stream
		if seq <= last { // it comes once more after a reset
			continue
		}
		f, err := newFrame(bus.Place{Shard: i, Seq: seq}, nats.Header(msg.Headers()), msg.Data(), meta.Timestamp)
		if err != nil {
			return err
		}
		t.take(f)
		last = seq
	}
}
