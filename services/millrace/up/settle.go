package up

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
)

// settleTime is how long a stop waits for accepted events to become rows. What
// is not there by then lies in the streams and goes on at the next start.
const settleTime = 15 * time.Second

// settler stands between the door and the services behind it: services stop in
// reverse, so when it is told to stop no more events come in, and it holds the
// others until everything that was accepted is in ClickHouse.
type settler struct {
	conn bus.Config
	log  *slog.Logger
}

// Run waits for ctx and then for the shards. Its end is never an error: nothing
// is lost by stopping early.
func (s *settler) Run(ctx context.Context) error {
	<-ctx.Done()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	nc, js, err := s.conn.Connect("millrace-up", s.log)
	if err != nil {
		return fmt.Errorf("look whether all events are in ClickHouse: %w", err)
	}
	defer nc.Close()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		left, err := behind(ctx, js, s.conn.Names())
		switch {
		case err == nil && left == 0:
			return nil
		case ctx.Err() != nil:
			s.log.Warn("some accepted events are not in ClickHouse yet; the next start goes on with them", "frames", left, "err", err)
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// behind is the number of accepted frames that are not proven.
func behind(ctx context.Context, js jetstream.JetStream, names bus.Names) (frames uint64, err error) {
	inst, err := bus.Open(ctx, js, names)
	if err != nil {
		return 0, err
	}
	ledger, err := js.Stream(ctx, names.StreamLedger())
	if err != nil {
		return 0, fmt.Errorf("look up stream %s: %w", names.StreamLedger(), err)
	}
	for shard := range inst.Shards {
		raw, err := js.Stream(ctx, names.StreamRaw(shard))
		if err != nil {
			return 0, fmt.Errorf("look up stream %s: %w", names.StreamRaw(shard), err)
		}
		rec, _, err := bus.LedgerLast(ctx, ledger, names, inst.SinkOf(shard))
		if err != nil {
			return 0, err
		}
		share, last := rec.Share(shard), raw.CachedInfo().State.LastSeq
		frames += last - min(share.Proven, last)
	}
	return frames, nil
}
