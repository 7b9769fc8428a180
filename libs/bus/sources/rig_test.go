package sources

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/bus/writekey"
)

var testNames = bus.Names{Prefix: "millrace"}

// rig is a real NATS with the streams, which can be stopped and started again.
type rig struct {
	*testing.T
	opts server.Options
	srv  *server.Server
	log  logged
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{T: t, opts: server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
	}}
	r.start()
	r.opts.Port = r.srv.Addr().(*net.TCPAddr).Port
	t.Cleanup(r.stop)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log:\n%s", r.log.String())
		}
	})
	return r
}

func (r *rig) start() {
	r.Helper()
	opts := r.opts
	srv, err := server.NewServer(&opts)
	if err != nil {
		r.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(30 * time.Second) {
		r.Fatal("nats-server is not ready")
	}
	r.srv = srv
}

func (r *rig) stop() {
	r.srv.Shutdown()
	r.srv.WaitForShutdown()
}

func (r *rig) js() jetstream.JetStream {
	r.Helper()
	cfg := bus.Config{URL: r.srv.ClientURL()}
	nc, js, err := cfg.Connect("test", slog.New(slog.DiscardHandler))
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(nc.Close)
	return js
}

func (r *rig) provision(js jetstream.JetStream) {
	r.Helper()
	_, err := bus.Provision(r.Context(), js, testNames, bus.Plan{
		Shards: 1, Sizes: bus.Sizes{In: 1 << 20, Raw: 1 << 20, Enriched: 1 << 20, Dead: 1 << 20}, MaxIn: 1 << 16,
	})
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) store(js jetstream.JetStream) *Store {
	r.Helper()
	s, err := Open(r.Context(), js, testNames)
	if err != nil {
		r.Fatal(err)
	}
	return s
}

// registry runs one with the keys of a flag until the test ends.
func (r *rig) registry(js jetstream.JetStream, flags string) *Registry {
	r.Helper()
	var keys writekey.Keys
	if flags != "" {
		if err := keys.Set(flags); err != nil {
			r.Fatal(err)
		}
	}
	reg := New(keys, slog.New(slog.NewTextHandler(&r.log, nil)))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = reg.Run(ctx, js, testNames)
	}()
	r.Cleanup(func() { cancel(); <-done })
	return reg
}

func (r *rig) add(s *Store, rec Record) (key string) {
	r.Helper()
	key, k := NewKey(time.Now(), "")
	rec.Keys = append(rec.Keys, k)
	if _, err := s.Add(r.Context(), rec); err != nil {
		r.Fatal(err)
	}
	return key
}

func (r *rig) change(s *Store, name string, change func(*Record)) Record {
	r.Helper()
	rec, err := s.Change(r.Context(), name, func(rec *Record) error { change(rec); return nil })
	if err != nil {
		r.Fatal(err)
	}
	return rec
}

// within waits for what the guarantee promises within a second, and for a
// loaded machine a while longer.
func (r *rig) within(what string, ok func() bool) {
	r.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.Fatalf("not in time: %s", what)
		}
	}
}

// opens waits until a key is a source's, or "" nobody's.
func (r *rig) opens(reg *Registry, key, source string) {
	r.Helper()
	r.within("the key of "+source, func() bool {
		s, ok := reg.ByKey(key)
		return ok == (source != "") && (!ok || s.Name == source)
	})
}

type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
