package bus

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// patient leases never expire in a test: whatever happens is due to what an
// instance hears, not to a timer.
const patientTTL, patientRenew = time.Hour, 20 * time.Minute

// hasty leases expire soon.
const hastyTTL, hastyRenew = 3 * time.Second, 200 * time.Millisecond

// leaseRig is a NATS server, a bucket, and a record of who works on what.
type leaseRig struct {
	t    *testing.T
	opts server.Options
	srv  *server.Server
	deaf bool // instances start with a watch that goes deaf

	mu      sync.Mutex
	working map[int][]string // instances by shard
	doubled []string         // moments at which a shard had two
}

func newLeaseRig(t *testing.T) *leaseRig {
	t.Helper()
	rig := &leaseRig{
		t:       t,
		working: map[int][]string{},
		opts: server.Options{
			Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
		},
	}
	rig.startServer()
	t.Cleanup(rig.stopServer)
	rig.opts.Port = rig.srv.Addr().(*net.TCPAddr).Port // a restart keeps it
	if _, err := rig.js().CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "LEASES"}); err != nil {
		t.Fatal(err)
	}
	return rig
}

func (rig *leaseRig) startServer() {
	rig.t.Helper()
	opts := rig.opts
	srv, err := server.NewServer(&opts)
	if err != nil {
		rig.t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(30 * time.Second) {
		rig.t.Fatal("nats-server is not ready")
	}
	rig.srv = srv
}

func (rig *leaseRig) stopServer() {
	rig.srv.Shutdown()
	rig.srv.WaitForShutdown()
}

func (rig *leaseRig) connect() *nats.Conn {
	rig.t.Helper()
	nc, err := nats.Connect(rig.srv.ClientURL(), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		rig.t.Fatal(err)
	}
	rig.t.Cleanup(nc.Close)
	return nc
}

func (rig *leaseRig) js() jetstream.JetStream {
	rig.t.Helper()
	js, err := jetstream.New(rig.connect())
	if err != nil {
		rig.t.Fatal(err)
	}
	return js
}

func (rig *leaseRig) kv(nc *nats.Conn) jetstream.KeyValue {
	rig.t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		rig.t.Fatal(err)
	}
	kv, err := js.KeyValue(rig.t.Context(), "LEASES")
	if err != nil {
		rig.t.Fatal(err)
	}
	return kv
}

// began and ended keep the record; own calls them.
func (rig *leaseRig) began(instance string, shard int) {
	rig.mu.Lock()
	defer rig.mu.Unlock()
	rig.working[shard] = append(rig.working[shard], instance)
	if len(rig.working[shard]) > 1 {
		rig.doubled = append(rig.doubled, fmt.Sprintf("shard %d: %v", shard, rig.working[shard]))
	}
}

func (rig *leaseRig) ended(instance string, shard int) {
	rig.mu.Lock()
	defer rig.mu.Unlock()
	rig.working[shard] = slices.DeleteFunc(rig.working[shard], func(s string) bool { return s == instance })
}

// shares is how many shards each instance works on: "a:2 b:2".
func (rig *leaseRig) shares() string {
	rig.mu.Lock()
	defer rig.mu.Unlock()
	counts := map[string]int{}
	for _, instances := range rig.working {
		for _, name := range instances {
			counts[name]++
		}
	}
	var parts []string
	for name, n := range counts {
		parts = append(parts, fmt.Sprintf("%s:%d", name, n))
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

// neverDoubled holds wherever leases are handed over, not left to expire.
func (rig *leaseRig) neverDoubled() {
	rig.t.Helper()
	rig.mu.Lock()
	defer rig.mu.Unlock()
	if len(rig.doubled) > 0 {
		rig.t.Errorf("two worked on a shard at the same time: %v", rig.doubled)
	}
}

func eventually(t *testing.T, what string, is func() (got string, ok bool)) {
	t.Helper()
	var got string
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		var ok bool
		if got, ok = is(); ok {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("%s: still %s", what, got)
}

func (rig *leaseRig) eventuallyShares(want string) {
	rig.t.Helper()
	eventually(rig.t, "want "+want, func() (string, bool) { got := rig.shares(); return got, got == want })
}

// leaseInstance is one running Leases with a connection of its own.
type leaseInstance struct {
	rig    *leaseRig
	name   string
	nc     *nats.Conn
	leases *Leases
	log    *lockedBuffer
	cancel context.CancelFunc
	done   chan error

	mu     sync.Mutex
	causes []error // why the context of an own ended
	theirs []int   // what Theirs was told, once each
}

type leaseWork func(ctx context.Context, shard int) error

// untilTold is the work of most tests.
func untilTold(ctx context.Context, _ int) error { <-ctx.Done(); return nil }

func (rig *leaseRig) start(name string, shards int, ttl, renew time.Duration, work leaseWork) *leaseInstance {
	rig.t.Helper()
	in := &leaseInstance{rig: rig, name: name, nc: rig.connect(), log: &lockedBuffer{}, done: make(chan error, 1)}
	kv := rig.kv(in.nc)
	if rig.deaf {
		kv = &deafKV{KeyValue: kv}
	}
	var err error
	in.leases, err = NewLeases(LeaseConfig{
		KV: kv, Service: "indexer", Instance: name, Shards: shards, TTL: ttl, Renew: renew,
		Log: slog.New(slog.NewTextHandler(in.log, nil)),
		Theirs: func(shard int) {
			in.mu.Lock()
			defer in.mu.Unlock()
			if !slices.Contains(in.theirs, shard) {
				in.theirs = append(in.theirs, shard)
			}
		},
	})
	if err != nil {
		rig.t.Fatal(err)
	}
	var ctx context.Context
	ctx, in.cancel = context.WithCancel(context.Background())
	go func() {
		in.done <- in.leases.Run(ctx, func(ctx context.Context, shard int) error {
			rig.began(name, shard)
			defer rig.ended(name, shard)
			err := work(ctx, shard)
			in.mu.Lock()
			defer in.mu.Unlock()
			in.causes = append(in.causes, context.Cause(ctx))
			return err
		})
	}()
	rig.t.Cleanup(func() { in.stop() })
	return in
}

// stop ends the instance in order and waits for it.
func (in *leaseInstance) stop() {
	in.rig.t.Helper()
	in.cancel()
	select {
	case err := <-in.done:
		if err != nil {
			in.rig.t.Errorf("%s: Run: %v", in.name, err)
		}
		in.done <- nil // the next stop finds it ended
	case <-time.After(30 * time.Second):
		in.rig.t.Fatalf("%s: Run does not return; log:\n%s", in.name, in.log)
	}
}

func (in *leaseInstance) endedBecause() []error {
	in.mu.Lock()
	defer in.mu.Unlock()
	return slices.Clone(in.causes)
}

func (in *leaseInstance) othersHave() []int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return slices.Sorted(slices.Values(in.theirs))
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lockedBuffer) eventuallyHas(t *testing.T, text string) {
	t.Helper()
	eventually(t, "want "+text, func() (string, bool) { got := l.String(); return got, strings.Contains(got, text) })
}
