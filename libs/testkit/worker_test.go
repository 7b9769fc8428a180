package testkit_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/testkit"
)

// tally is what the worker of this example knows of a shard: how many events
// each user has. A real worker keeps it in its database. That add changes both
// fields at once, in one transaction there, is all that exactly once takes:
// frame n is written once and never changes.
type tally struct {
	mu    sync.Mutex
	last  uint64 // the frame that was counted last
	users map[string]int
}

// add counts the users of a frame, unless it was counted before.
func (t *tally) add(seq uint64, users []string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case seq <= t.last:
		return nil
	case seq > t.last+1:
		return fmt.Errorf("frames %d to %d were trimmed: count them in the table, WHERE _seq > %d", t.last+1, seq-1, t.last)
	}
	for _, user := range users {
		t.users[user]++
	}
	t.last = seq
	return nil
}

func (t *tally) counted() (last uint64, users map[string]int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last, maps.Clone(t.users)
}

// follow counts the frames of a shard from where the tally ends, until ctx is
// done or something is in the way.
func follow(ctx context.Context, js jetstream.JetStream, stream string, t *tally) error {
	last, _ := t.counted()
	consumer, err := js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: last + 1,
	})
	if err != nil {
		return fmt.Errorf("read %s: %w", stream, err)
	}
	messages, err := consumer.Messages()
	if err != nil {
		return fmt.Errorf("read %s: %w", stream, err)
	}
	defer messages.Stop()
	view := frame.NewView(frame.RowSchema)
	var native []byte
	var users []string
	for {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("read %s: %w", stream, err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return fmt.Errorf("read %s: %w", stream, err)
		}
		if codec, err := strconv.Atoi(msg.Headers().Get(bus.HeaderCodec)); err != nil || codec > frame.Codec {
			return errors.New("a newer build writes these frames: upgrade this worker first")
		}
		if native, err = frame.Unpack(native, msg.Data()); err == nil {
			err = view.Parse(native)
		}
		if err != nil {
			return fmt.Errorf("%s, frame %d: %w", stream, meta.Sequence.Stream, err)
		}
		users = users[:0]
		for row := range view.Rows() {
			users = append(users, string(view.Str(frame.ColUserID, row)))
		}
		if err := t.add(meta.Sequence.Stream, users); err != nil {
			return fmt.Errorf("%s: %w", stream, err)
		}
	}
}

// work follows again whenever something was in the way.
func work(ctx context.Context, js jetstream.JetStream, stream string, t *tally) {
	for ctx.Err() == nil {
		_ = follow(ctx, js, stream, t) // a real worker logs it and waits longer each time
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// The worker counts every event once, although its connection is reset and cut
// while it counts, and it is stopped and another one started in its place.
func TestWorkerCountsOnceThroughACutConnection(t *testing.T) {
	n := testkit.StartNATS(t)
	direct := n.Connect()
	inst := n.Provision(direct, 1)
	p := testkit.StartProxy(t, n.URL)

	const shard, frames = 0, 60
	count, want := &tally{users: map[string]int{}}, map[string]int{}
	start := func() (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		js := n.Connect(p)
		var wg sync.WaitGroup
		wg.Go(func() { work(ctx, js, inst.Names.StreamEnriched(shard), count) })
		return func() { cancel(); wg.Wait() }
	}
	stop := start()
	for i := range frames {
		rows := make([]testkit.Row, i%4) // some frames have none
		for j := range rows {
			user := "user " + strconv.Itoa((i+j)%7)
			rows[j] = testkit.Row{Source: "shop", Event: "order placed", UserID: user}
			want[user]++
		}
		n.PublishEnriched(direct, shard, rows...)
		if i%15 == 10 {
			testkit.Eventually(t, "the worker is on its way", func() bool { last, _ := count.counted(); return last > uint64(i/2) })
			p.Reset()
		}
		switch i {
		case 30: // another worker takes over
			stop()
			stop = start()
		case 40:
			p.Cut()
		case 50:
			p.Heal()
		}
	}
	defer func() { stop() }()
	testkit.Eventually(t, "the worker reaches the last frame", func() bool { last, _ := count.counted(); return last == frames })
	if _, got := count.counted(); !maps.Equal(got, want) {
		t.Errorf("counted %v, want %v", got, want)
	}
	if p.Stats().Reset == 0 {
		t.Error("no connection was ever cut")
	}
}
