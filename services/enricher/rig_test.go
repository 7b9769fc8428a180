package enricher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/svc"
)

// rig is a real JetStream server with Millrace's streams, and enrichers on it.
// The tests talk to it over a connection of their own.
type rig struct {
	t    *testing.T
	opts server.Options
	srv  *server.Server
	url  string
	js   jetstream.JetStream
	inst bus.Installation
	plan bus.Plan
	sent int // frames, for their ids
}

func newRig(t *testing.T, shards int) *rig {
	t.Helper()
	r := &rig{t: t, opts: server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
	}}
	r.start()
	r.url = r.srv.ClientURL()
	r.opts.Port = r.srv.Addr().(*net.TCPAddr).Port
	t.Cleanup(func() { r.stop() })
	cfg := bus.Config{URL: r.url}
	nc, js, err := cfg.Connect("test", discard())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	r.js = js
	r.plan = bus.Plan{Shards: shards, MaxIn: 1 << 19, Sizes: bus.Sizes{In: 1 << 26, Raw: 1 << 26, Enriched: 1 << 26, Dead: 1 << 26}}
	if r.inst, err = bus.Provision(t.Context(), js, bus.Names{Prefix: bus.DefaultPrefix}, r.plan); err != nil {
		t.Fatal(err)
	}
	return r
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func (r *rig) start() {
	opts := r.opts
	s, err := server.NewServer(&opts)
	if err != nil {
		r.t.Fatal(err)
	}
	go s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		r.t.Fatal("the NATS server is not ready")
	}
	r.srv = s
}

func (r *rig) stop() {
	r.srv.Shutdown()
	r.srv.WaitForShutdown()
}

// running is an enricher that runs.
type running struct {
	t    *testing.T
	e    *Enricher
	reg  *prometheus.Registry
	stop context.CancelFunc
	done chan error
	logs *logs
}

// enricher starts one; change may alter its configuration.
func (r *rig) enricher(change ...func(*Config)) *running {
	r.t.Helper()
	reg, l := prometheus.NewRegistry(), &logs{}
	cfg := Config{
		Bus: bus.Config{URL: r.url}, LeaseTTL: 2 * time.Second, Health: svc.NewHealth(), Reg: reg,
		Log: slog.New(slog.NewTextHandler(l, nil)),
	}
	for _, f := range change {
		f(&cfg)
	}
	e, err := New(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.t.Context()))
	x := &running{t: r.t, e: e, reg: reg, stop: cancel, done: make(chan error, 1), logs: l}
	go func() { x.done <- e.Run(ctx) }()
	r.t.Cleanup(func() {
		x.end()
		if r.t.Failed() {
			r.t.Logf("log of the enricher:\n%s", l)
		}
	})
	return x
}

// end stops the enricher and waits until it has drained.
func (x *running) end() {
	x.stop()
	select {
	case err := <-x.done:
		x.done <- err
		if err != nil {
			x.t.Errorf("the enricher ended with %v", err)
		}
	case <-time.After(time.Minute):
		x.t.Error("the enricher does not end")
	}
}

func (x *running) metric(name string, labels ...string) float64 {
	x.t.Helper()
	families, err := x.reg.Gather()
	if err != nil {
		x.t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != "millrace_enricher_"+name {
			continue
		}
	metrics:
		for _, m := range f.GetMetric() {
			for _, l := range labels {
				found := false
				for _, p := range m.GetLabel() {
					found = found || p.GetValue() == l
				}
				if !found {
					continue metrics
				}
			}
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}

// logs is what an enricher wrote.
type logs struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

var _ io.Writer = (*logs)(nil)

// raw publishes a frame as the ingester does and returns its sequence.
func (r *rig) raw(shard int, events ...sent) uint64 {
	r.t.Helper()
	return r.rawMsg(shard, rawBody(events...), frame.Codec, len(events))
}

func (r *rig) rawMsg(shard int, body []byte, codec, events int) uint64 {
	r.t.Helper()
	r.sent++
	msg := &nats.Msg{Subject: r.inst.Names.Raw(shard), Data: body, Header: nats.Header{
		bus.HeaderCodec:  {strconv.Itoa(codec)},
		bus.HeaderEvents: {strconv.Itoa(events)},
		bus.HeaderFrame:  {fmt.Sprintf("frame-%d", r.sent)},
	}}
	var seq uint64
	eventually(r.t, "RAW takes a frame", func() bool {
		ack, err := r.js.PublishMsg(r.t.Context(), msg)
		if err == nil {
			seq = ack.Sequence
		}
		return err == nil
	})
	return seq
}

func (r *rig) stream(name string) jetstream.Stream {
	r.t.Helper()
	var s jetstream.Stream
	eventually(r.t, "stream "+name+" answers", func() (ok bool) {
		var err error
		s, err = r.js.Stream(r.t.Context(), name)
		return err == nil
	})
	return s
}

func (r *rig) last(name string) uint64 { return r.stream(name).CachedInfo().State.LastSeq }

// answered waits until ENRICHED has answered a sequence.
func (r *rig) answered(shard int, seq uint64) {
	r.t.Helper()
	eventually(r.t, fmt.Sprintf("frame %d of shard %d is answered", seq, shard), func() bool {
		return r.last(r.inst.Names.StreamEnriched(shard)) >= seq
	})
}

// answer is one frame of ENRICHED.
type answer struct {
	seq     uint64
	verdict frame.Verdict
	check   frame.Checkpoint
	rows    *frame.View
}

// answers reads all of ENRICHED and checks what always holds: frame n answers
// frame n, and the verdict's sums are those of the body.
func (r *rig) answers(shard int) []answer {
	r.t.Helper()
	s := r.stream(r.inst.Names.StreamEnriched(shard))
	raw := r.stream(r.inst.Names.StreamRaw(shard))
	var all []answer
	for seq := max(s.CachedInfo().State.FirstSeq, 1); seq <= s.CachedInfo().State.LastSeq; seq++ {
		msg, err := s.GetMsg(r.t.Context(), seq)
		if err != nil {
			r.t.Fatalf("ENRICHED %d: %v", seq, err)
		}
		a := answer{seq: seq}
		if err := errors.Join(
			frame.Decode(msg.Header.Get(bus.HeaderVerdict), &a.verdict),
			frame.Decode(msg.Header.Get(bus.HeaderCheckpoint), &a.check)); err != nil {
			r.t.Fatal(err)
		}
		a.rows = decodeRows(r.t, msg.Data, &a.verdict)
		for row := range a.rows.Rows() {
			if got := a.rows.U64(frame.ColSeq, row); got != seq {
				r.t.Fatalf("ENRICHED %d holds a row of frame %d", seq, got)
			}
		}
		question, err := raw.GetMsg(r.t.Context(), seq)
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			if !a.verdict.Lost && a.check.Frame == "" {
				r.t.Fatalf("frame %d is missing in RAW and not lost in ENRICHED", seq)
			}
		case err != nil:
			r.t.Fatal(err)
		case a.check.Frame != question.Header.Get(bus.HeaderFrame) || !a.check.Received.Equal(question.Time):
			r.t.Fatalf("ENRICHED %d answers %s of %s, RAW has %s of %s", seq,
				a.check.Frame, a.check.Received, question.Header.Get(bus.HeaderFrame), question.Time)
		}
		all = append(all, a)
	}
	return all
}

// dead reads all of DEAD; an identity that occurs with different content fails.
func (r *rig) dead() map[string]bus.DeadLetter {
	r.t.Helper()
	s := r.stream(r.inst.Names.StreamDead())
	all := map[string]bus.DeadLetter{}
	for seq := max(s.CachedInfo().State.FirstSeq, 1); seq <= s.CachedInfo().State.LastSeq; seq++ {
		msg, err := s.GetMsg(r.t.Context(), seq)
		if err != nil {
			r.t.Fatalf("DEAD %d: %v", seq, err)
		}
		d, err := bus.ParseDeadLetter(msg.Header, msg.Data)
		if err != nil {
			r.t.Fatal(err)
		}
		if want := r.inst.Names.Dead(d.Shard, d.Stage, d.Reason); msg.Subject != want {
			r.t.Errorf("dead letter %s lies at %s, want %s", d.Identity(), msg.Subject, want)
		}
		if old, again := all[d.Identity()]; again && (string(old.Original) != string(d.Original) || old.Reason != d.Reason) {
			r.t.Errorf("dead letter %s contradicts itself", d.Identity())
		}
		all[d.Identity()] = d
	}
	return all
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

func newRegistry() *prometheus.Registry { return prometheus.NewRegistry() }
