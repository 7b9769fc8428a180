package indexer

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/failpoint"
	"github.com/millrace/millrace/libs/svc"
)

// The dead lane brings DEAD into the table dead_letters_log:
//
//	DEAD -> indexer -> dead_letters_log (readers: dead_letters)
//
// At least once is enough here: a dead letter's identity is its place, the
// table keeps one row an identity, and the view over it reads each once.
type deadLane struct {
	cfg     *Config
	names   bus.Names
	js      jetstream.JetStream
	table   *table
	metrics *metrics
	log     *slog.Logger
}

const (
	deadBatch  = 1000
	deadBytes  = 16 << 20 // of a batch, beyond its first letter
	deadLinger = 50 * time.Millisecond
)

// run works until ctx is done. Any number of indexers share the consumer.
func (l *deadLane) run(ctx context.Context) error {
	defer l.table.close()
	delays := growing{next: firstDelay}
	var lines svc.Repeated
	lastTrim := failpoint.Now()
	for ctx.Err() == nil {
		n, err := l.once(ctx)
		if err == nil && failpoint.Due(lastTrim, min(l.cfg.TrimEvery, 5*time.Second)) {
			lastTrim, err = failpoint.Now(), l.trim(ctx)
		}
		switch {
		case ctx.Err() != nil:
		case err != nil:
			l.metrics.retries.WithLabelValues("dead_letters").Inc()
			if times, due := lines.Again(); due {
				l.log.Warn("dead letters are retried", "times", times, "err", err)
			}
			if delays.wait(ctx) != nil {
				return ctx.Err()
			}
		default:
			delays.next = firstDelay
			if times, lasted, was := lines.Over(); was {
				l.log.Info("dead letters go into ClickHouse again", "times", times, "after", lasted.String())
			}
			l.metrics.letters.Add(float64(n))
		}
	}
	return ctx.Err()
}

// once fetches what is there, inserts it and acknowledges it.
func (l *deadLane) once(ctx context.Context) (int, error) {
	consumer, err := l.js.Consumer(ctx, l.names.StreamDead(), l.names.DurableDeadLetters())
	if err != nil {
		return 0, fmt.Errorf("look up the consumer of dead letters: %w", err)
	}
	wait, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	batch, err := consumer.Fetch(1, jetstream.FetchContext(wait))
	if err != nil {
		return 0, fmt.Errorf("fetch dead letters: %w", err)
	}
	var msgs []jetstream.Msg
	for msg := range batch.Messages() {
		msgs = append(msgs, msg)
	}
	if err := batch.Error(); err != nil && wait.Err() == nil && len(msgs) == 0 {
		return 0, fmt.Errorf("fetch dead letters: %w", err)
	}
	if len(msgs) == 0 {
		return 0, nil
	}
	// The first one waited for company only as long as a reader would not notice.
	more, err := consumer.Fetch(deadBatch-1, jetstream.FetchMaxBytes(deadBytes), jetstream.FetchMaxWait(deadLinger))
	if err != nil {
		return 0, fmt.Errorf("fetch dead letters: %w", err)
	}
	for msg := range more.Messages() {
		msgs = append(msgs, msg)
	}
	if err := l.insert(context.WithoutCancel(ctx), msgs); err != nil {
		for _, msg := range msgs {
			_ = msg.NakWithDelay(nakDelay(msg)) // not acknowledged comes back by itself, only later
		}
		return 0, err
	}
	failpoint.At(failpoint.IndexerDeadAckBefore)
	for _, msg := range msgs {
		if err := msg.Ack(); err != nil {
			return 0, fmt.Errorf("acknowledge dead letters: %w", err) // inserted again later: the same identity
		}
	}
	failpoint.At(failpoint.IndexerDeadAckAfter)
	return len(msgs), nil
}

// nakDelay grows with every delivery: one second at first, half a minute at
// last.
func nakDelay(msg jetstream.Msg) time.Duration {
	meta, err := msg.Metadata()
	if err != nil {
		return time.Second
	}
	return min(time.Second<<min(max(meta.NumDelivered, 1)-1, 5), 30*time.Second)
}

func (l *deadLane) insert(ctx context.Context, msgs []jetstream.Msg) error {
	var (
		incarnation                             proto.ColUInt64
		shard, retry                            proto.ColUInt16
		seq                                     proto.ColUInt64
		idx, events                             proto.ColUInt32
		source, stage, reason, detail, original proto.ColStr
		received                                = new(proto.ColDateTime64).WithPrecision(proto.PrecisionMilli).WithLocation(time.UTC)
	)
	for _, msg := range msgs {
		d, err := bus.ParseDeadLetter(msg.Headers(), msg.Data())
		if err != nil {
			// Somebody else's message in our stream: say so and leave it there.
			l.log.Error("a message in DEAD is no dead letter and is left out of ClickHouse", "subject", msg.Subject(), "err", err)
			continue
		}
		incarnation.Append(d.Incarnation)
		shard.Append(uint16(d.Shard))
		seq.Append(d.Seq)
		idx.Append(uint32(d.Idx))
		retry.Append(0)
		events.Append(uint32(d.Events))
		source.Append(d.Source)
		stage.Append(d.Stage)
		reason.Append(d.Reason)
		detail.Append(d.Detail)
		original.AppendBytes(d.Original)
		received.Append(d.Received)
	}
	if shard.Rows() == 0 {
		return nil
	}
	input := proto.Input{
		{Name: "_incarnation", Data: incarnation},
		{Name: "_shard", Data: shard},
		{Name: "_seq", Data: seq},
		{Name: "_idx", Data: idx},
		{Name: "retry", Data: retry},
		{Name: "events", Data: events},
		{Name: "source", Data: source},
		{Name: "stage", Data: stage},
		{Name: "reason", Data: reason},
		{Name: "detail", Data: detail},
		{Name: "original", Data: original},
		{Name: "received_at", Data: received},
	}
	if err := failpoint.Error(failpoint.IndexerDeadInsertBefore); err != nil {
		return err
	}
	err := l.table.do(ctx, ch.Query{
		Body:  input.Into("dead_letters_log"),
		Input: input,
	})
	if err != nil {
		return fmt.Errorf("insert %d dead letters: %w", shard.Rows(), err)
	}
	return failpoint.Error(failpoint.IndexerDeadInsertAfter)
}

// trim purges what every reader has: what is acknowledged, and older than
// keep unless the stream is nearly full.
func (l *deadLane) trim(ctx context.Context) error {
	consumer, err := l.js.Consumer(ctx, l.names.StreamDead(), l.names.DurableDeadLetters())
	if err != nil {
		return fmt.Errorf("look up the consumer of dead letters: %w", err)
	}
	floor := consumer.CachedInfo().AckFloor.Stream
	dead := trimmer{js: l.js, stream: l.names.StreamDead(), keep: l.cfg.Keep, purge: purgeDead, log: func(_ string, from, to uint64, _ bool) {
		l.metrics.trimmed.Add(float64(to - from + 1))
	}}
	return dead.run(ctx, true, floor, floor)
}

func purgeDead(ctx context.Context, js jetstream.JetStream, stream string, below uint64) error {
	failpoint.At(failpoint.IndexerTrimDeadBefore)
	err := bus.Purge(ctx, js, stream, below)
	failpoint.At(failpoint.IndexerTrimDeadAfter)
	return err
}
