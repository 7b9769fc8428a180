package enricher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/failpoint"
	"github.com/millrace/millrace/libs/svc"
)

const (
	// fetchFrames bounds what the client holds back for a shard, and with
	// aheadFrames the memory that reading takes.
	fetchFrames = 64
	aheadFrames = 16

	apiTimeout = 5 * time.Second
)

// reader hands out the messages of a RAW stream in order, from a sequence on.
// It comes back by itself from everything that happens to the connection or
// the server; a gap in what it hands out is for the receiver to judge.
type reader struct {
	js     jetstream.JetStream
	stream string
	log    *slog.Logger
	m      *shardMetrics
}

// run reads until ctx is done and then closes out.
func (r *reader) run(ctx context.Context, from uint64, out chan<- *rawFrame) error {
	defer close(out)
	var wait delay
	var lines svc.Repeated
	for ctx.Err() == nil {
		before := from
		err := r.follow(ctx, &from, out)
		if ctx.Err() != nil {
			break
		}
		if from > before {
			wait.reset()
			lines.Over()
		}
		r.m.readRetries.Inc()
		if times, due := lines.Again(); due {
			r.log.Warn("reading is taken up again", "stream", r.stream, "seq", from, "times", times, "err", err)
		}
		wait.sleep(ctx)
	}
	return ctx.Err()
}

// follow reads with one consumer until something fails; from moves along.
func (r *reader) follow(ctx context.Context, from *uint64, out chan<- *rawFrame) error {
	create, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	consumer, err := r.js.OrderedConsumer(create, r.stream, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: *from,
		// One attempt: the library waits without looking at ctx, run does not.
		MaxResetAttempts: 1,
	})
	if err != nil {
		return fmt.Errorf("consume %s from %d: %w", r.stream, *from, err)
	}
	msgs, err := consumer.Messages(jetstream.PullMaxMessages(fetchFrames))
	if err != nil {
		return fmt.Errorf("consume %s from %d: %w", r.stream, *from, err)
	}
	defer msgs.Stop()
	for {
		failpoint.At(failpoint.EnricherReadBefore)
		msg, err := msgs.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("read %s: %w", r.stream, err)
		}
		f, err := parseRaw(msg)
		if err != nil {
			return err
		}
		if f.seq < *from {
			continue
		}
		failpoint.At(failpoint.EnricherReadAfter)
		select {
		case out <- f:
			*from = f.seq + 1
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func parseRaw(msg jetstream.Msg) (*rawFrame, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, fmt.Errorf("a message of RAW without metadata: %w", err)
	}
	f := &rawFrame{seq: meta.Sequence.Stream, received: meta.Timestamp, pending: meta.NumPending, body: msg.Data()}
	f.header(msg.Headers().Get(bus.HeaderFrame), msg.Headers().Get(bus.HeaderCodec), msg.Headers().Get(bus.HeaderEvents))
	return f, nil
}

func (f *rawFrame) header(id, codec, events string) {
	f.id = id
	var err error
	if f.codec, err = strconv.Atoi(codec); err != nil {
		f.codec = frame.Codec
	}
	if f.events, err = strconv.Atoi(events); err != nil {
		f.events = -1
	}
}

// gone asks the stream itself, not a replica, whether a message is missing.
func gone(ctx context.Context, stream jetstream.Stream, seq uint64) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	info, err := stream.Info(ctx, jetstream.WithDeletedDetails(true))
	if err != nil {
		return false, fmt.Errorf("look for message %d: %w", seq, err)
	}
	return seq < info.State.FirstSeq || slices.Contains(info.State.Deleted, seq), nil
}

// fetch reads one message that the stream is known to hold. With several
// replicas a direct get may ask one that is behind, so not found is asked
// again before it is believed.
func fetch(ctx context.Context, stream jetstream.Stream, seq uint64) (*jetstream.RawStreamMsg, error) {
	var wait delay
	for attempt := 0; ; attempt++ {
		call, cancel := context.WithTimeout(ctx, apiTimeout)
		msg, err := stream.GetMsg(call, seq)
		cancel()
		if err == nil {
			return msg, nil
		}
		if !errors.Is(err, jetstream.ErrMsgNotFound) || attempt == 4 {
			return nil, fmt.Errorf("read %s at %d: %w", stream.CachedInfo().Config.Name, seq, err)
		}
		if !wait.sleep(ctx) {
			return nil, ctx.Err()
		}
	}
}
