package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"
)

// streamFaults fill the streams, and send more than once.
var streamFaults = []fault{
	{name: "full/raw", what: "RAW is full: the door refuses", do: func(ctx context.Context, l *lab, rng *rand.Rand) error {
		return l.withFullStreams(ctx, rng, l.names().StreamRaw, "ingester")
	}},
	{name: "full/enriched", what: "ENRICHED is full: the enricher waits", do: func(ctx context.Context, l *lab, rng *rand.Rand) error {
		return l.withFullStreams(ctx, rng, l.names().StreamEnriched, "enricher")
	}},
	{name: "full/away", what: "ClickHouse is away until the streams are full and the door refuses", do: awayUntilRefused},
	{name: poison, what: "one event in twenty is a row that ClickHouse refuses", do: func(ctx context.Context, _ *lab, rng *rand.Rand) error {
		hold(ctx, rng, 2*time.Second, 5*time.Second) // the producers know what is meant by its name
		return nil
	}},
	{name: "producers/repeat", what: "producers send again what was acknowledged, most of the time", do: func(ctx context.Context, l *lab, rng *rand.Rand) error {
		before := l.repeated()
		l.repeating.Store(true)
		defer l.repeating.Store(false)
		hold(ctx, rng, 2*time.Second, 5*time.Second)
		if l.repeated() < before+10*perRequest {
			return missed("only %d events were sent again", l.repeated()-before)
		}
		return nil
	}},
}

// resize sets the limit of every shard's stream, by what it holds now; 0 gives
// back the usual one. A limit that would be below what is there is not set: the
// stream would forget.
func (l *lab) resize(ctx context.Context, stream func(int) string, more int64) error {
	js, done, err := l.jetStream()
	if err != nil {
		return err
	}
	defer done()
	for shard := range shardCount {
		err := again(ctx, 20*time.Second, func(ctx context.Context) error {
			s, err := js.Stream(ctx, stream(shard))
			if err != nil {
				return err
			}
			cfg := s.CachedInfo().Config
			if cfg.MaxBytes = 256 << 20; more > 0 {
				cfg.MaxBytes = max(int64(s.CachedInfo().State.Bytes)+more, leastStream)
			}
			_, err = js.UpdateStream(ctx, cfg)
			return err
		})
		if err != nil {
			return fmt.Errorf("resize %s: %w", stream(shard), err)
		}
	}
	return nil
}

// leastStream holds all that a producer may send again: a full stream is
// trimmed inside the window in which repeats are known.
const leastStream = 12 << 20

// bulky events, in bytes, fill streams within seconds.
const bulky = 4000

// withFullStreams stops what empties the streams, so that they are full within
// seconds.
func (l *lab) withFullStreams(ctx context.Context, rng *rand.Rand, stream func(int) string, writer string) error {
	heard := l.listen(writer)
	for _, p := range l.services["indexer"] {
		p.signal(syscall.SIGSTOP)
		defer p.signal(syscall.SIGCONT)
	}
	l.padding.Store(bulky)
	defer l.padding.Store(0)
	full := l.resize(ctx, stream, 40<<10)
	if full == nil {
		full = l.awaitFull(ctx, heard, stream)
		hold(ctx, rng, 0, 3*time.Second)
	}
	return worse(full, l.roomy(ctx, stream))
}

// roomy gives the streams their usual limit back.
func (l *lab) roomy(ctx context.Context, stream func(int) string) error {
	ctx, cancel := undoing(ctx)
	defer cancel()
	return l.resize(ctx, stream, 0)
}

// awaitFull waits until who writes to the streams says that one takes no more,
// or shows it: log lines become rare when it was so before. The door refuses;
// the enricher stands still while RAW goes on.
func (l *lab) awaitFull(ctx context.Context, heard ear, stream func(int) string) error {
	js, done, err := l.jetStream()
	if err != nil {
		return err
	}
	defer done()
	last := func(name string) (uint64, error) {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		s, err := js.Stream(ctx, name)
		if err != nil {
			return 0, err
		}
		return s.CachedInfo().State.LastSeq, nil
	}
	door, before := stream(0) == l.names().StreamRaw(0), l.refused()
	for end := time.Now().Add(45 * time.Second); time.Now().Before(end); {
		if heard.heard("maximum bytes exceeded", "stream_full") || door && l.refused() >= before+10 {
			return nil
		}
		was, err := last(stream(0))
		if err != nil {
			return err
		}
		if !pause(ctx, time.Second) {
			break
		}
		is, err := last(stream(0))
		if err != nil {
			return err
		}
		if raw, err := last(l.names().StreamRaw(0)); err != nil || !door && is == was && raw > is+5 {
			return err
		}
	}
	return missed("%s takes more after 45 s", stream(0))
}

// repeated counts the events that were sent again.
func (l *lab) repeated() (n int64) {
	for _, p := range l.producers {
		n += p.repeats.Load()
	}
	return n
}

// refused counts the answers that were no acknowledgement.
func (l *lab) refused() (n int64) {
	for _, p := range l.producers {
		n += p.refusals.Load()
	}
	return n
}

// awayUntilRefused keeps ClickHouse away until producers are refused, and
// somewhat longer.
func awayUntilRefused(ctx context.Context, l *lab, rng *rand.Rand) error {
	heard := l.listen("ingester")
	if err := l.db.kill(); err != nil {
		return err
	}
	l.padding.Store(bulky)
	defer l.padding.Store(0)
	full := l.resize(ctx, l.names().StreamRaw, 100<<10)
	if full == nil {
		full = l.awaitFull(ctx, heard, l.names().StreamRaw)
		hold(ctx, rng, 0, 2*time.Second)
	}
	return worse(full, worse(l.db.start(ctx), l.roomy(ctx, l.names().StreamRaw)))
}
