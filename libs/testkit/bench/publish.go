package main

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// sender brings a load through a door and returns the receipt that covers it.
type sender func(ctx context.Context, in *installation, l load) (receipt string, err error)

// Messages that may be under way at a time, of many events and of one: what a
// publisher on the same machine needs to keep the door busy.
const (
	batchPending  = 256
	singlePending = 4096
)

// overNATS publishes to the NATS door with a bounded number of messages that
// are not acknowledged yet: an ordinary JetStream publisher (a reply subject
// each), written for little CPU because the generator shares the machine. A
// refused message, as when the stream is full, is sent again until it is taken.
// Messages go to the sources in turn.
func overNATS(pending int, sources ...string) sender {
	return func(ctx context.Context, in *installation, l load) (string, error) {
		subjects := []string{"millrace.in." + in.addrs.Source}
		if len(sources) > 0 {
			subjects = nil
			for _, s := range sources {
				subjects = append(subjects, "millrace.in."+s)
			}
		}
		last, err := publish(ctx, in.addrs.NATS, subjects, pending, l.bodies)
		return "in:" + strconv.FormatUint(last, 10), err
	}
}

// publish returns the highest sequence that JetStream gave.
func publish(ctx context.Context, url string, subjects []string, pending int, bodies [][]byte) (last uint64, err error) {
	nc, err := nats.Connect(url)
	if err != nil {
		return 0, err
	}
	defer nc.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	inbox := nats.NewInbox() + "."
	free := make(chan struct{}, pending)
	for range pending {
		free <- struct{}{}
	}
	send := func(i int) {
		if err := nc.PublishRequest(subjects[i%len(subjects)], inbox+strconv.Itoa(i), bodies[i]); err != nil {
			cancel(err)
		}
	}
	var highest, refused atomic.Uint64
	_, err = nc.Subscribe(inbox+"*", func(m *nats.Msg) {
		seq, ok := acknowledged(m.Data)
		if ok {
			highest.Store(max(highest.Load(), seq)) // only this goroutine writes
			free <- struct{}{}
			return
		}
		i, err := strconv.Atoi(strings.TrimPrefix(m.Subject, inbox))
		if err != nil {
			cancel(fmt.Errorf("acknowledgement on %s: %w", m.Subject, err))
			return
		}
		if refused.Add(1) > uint64(100*len(bodies)+1000) {
			cancel(fmt.Errorf("refused again and again: %s", m.Data))
			return
		}
		time.AfterFunc(20*time.Millisecond, func() { send(i) })
	})
	if err != nil {
		return 0, err
	}
	wait := func() error {
		select {
		case <-free:
			return nil
		default:
		}
		select {
		case <-free:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Minute):
			return fmt.Errorf("no acknowledgement for a minute from %s", url)
		}
	}
	for i := range bodies {
		if err := wait(); err != nil {
			return 0, err
		}
		send(i)
	}
	for range pending { // until none is under way
		if err := wait(); err != nil {
			return 0, err
		}
	}
	return highest.Load(), context.Cause(ctx)
}

// acknowledged reads a PubAck; format: JetStream's publish acknowledgement,
// {"stream":"...","seq":1}.
func acknowledged(ack []byte) (seq uint64, ok bool) {
	if bytes.Contains(ack, []byte(`"error"`)) {
		return 0, false
	}
	_, rest, ok := bytes.Cut(ack, []byte(`"seq":`))
	for _, c := range rest {
		if c < '0' || c > '9' {
			break
		}
		seq = 10*seq + uint64(c-'0')
	}
	return seq, ok
}

// receipts joins what the HTTP door answers: the newest place of each shard.
type receipts struct {
	mu   sync.Mutex // guards last
	last map[string]uint64
}

// add takes a receipt, "shard:seq,shard:seq".
func (r *receipts) add(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == nil {
		r.last = map[string]uint64{}
	}
	for place := range strings.SplitSeq(text, ",") {
		shard, seq, ok := strings.Cut(place, ":")
		if n, err := strconv.ParseUint(seq, 10, 64); ok && err == nil {
			r.last[shard] = max(r.last[shard], n)
		}
	}
}

func (r *receipts) String() string {
	var all []string
	for shard, seq := range r.last {
		all = append(all, shard+":"+strconv.FormatUint(seq, 10))
	}
	sortPlaces(all)
	return strings.Join(all, ",")
}
