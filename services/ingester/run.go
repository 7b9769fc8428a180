package ingester

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/bus/sources"
	"github.com/millrace/millrace/libs/svc"
)

// Ingester is one ingester; any number may run at once.
type Ingester struct {
	cfg      Config
	listener net.Listener
	loopback bool
	server   *http.Server
	m        *metrics
	budget   *budget
	routes   map[string]route
	assets   func() (map[string]*asset, error) // unpacked at the first question
	tls      *tls.Config                       // nil: none
	sources  *sources.Registry

	opened   chan struct{} // closed once door is set
	door     *door
	stopping chan struct{} // closed when draining begins
}

// New listens, so that a taken port is named at once, and answers nothing
// before Run.
func New(cfg Config) (*Ingester, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Ingester{
		cfg: cfg, listener: cfg.Listener, budget: &budget{max: cfg.MaxInFlight},
		sources: sources.New(cfg.WriteKeys, cfg.Log),
		routes:  newRoutes(), assets: sync.OnceValues(loadAssets),
		opened: make(chan struct{}), stopping: make(chan struct{}),
	}
	var err error
	if s.listener == nil {
		if s.listener, err = net.Listen("tcp", cfg.Addr); err != nil {
			return nil, fmt.Errorf("the HTTP door: %w; --ingest-addr chooses another", err)
		}
	}
	s.loopback = svc.OnLoopback(s.listener.Addr())
	s.m = newMetrics(cfg.Reg, s.budget)
	s.server = s.newServer()
	if s.tls, err = cfg.tlsConfig(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.listener = &gate{
		Listener: s.listener, tls: s.tls, most: cfg.MaxConns, mostEach: cfg.MaxConnsEach, isProxy: s.isProxy,
		refused: s.m.connectionsRefused, open: s.m.connections, each: map[netip.Addr]int{},
	}
	if s.cfg.WriteKeys.Len() == 0 {
		cfg.Log.Info("there are no write keys but those of `millrace source add`; MILLRACE_WRITE_KEYS=source:key sets one")
	}
	return s, nil
}

// Addr is where HTTP is taken, with the port chosen for port 0.
func (s *Ingester) Addr() string { return s.listener.Addr().String() }

// Close frees the port of an ingester that was never run.
func (s *Ingester) Close() error { return s.listener.Close() }

// Run takes events until ctx is done, and returns when everything it took is
// in RAW or refused to its sender. NATS may come later and go away: requests
// wait for the hold time and are then sent back. An error is one that waiting
// cannot mend.
func (s *Ingester) Run(ctx context.Context) error {
	nc, js, err := s.cfg.Bus.Connect("ingester", s.cfg.Log)
	if err != nil {
		return errors.Join(err, s.Close())
	}
	defer nc.Close()
	s.checks(nc)

	var lanes sync.WaitGroup
	g, intake := errgroup.WithContext(ctx)
	// Ended by the shutdown below.
	g.Go(func() error {
		if err := s.server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("the HTTP door at %s: %w", s.Addr(), err)
		}
		return nil
	})
	g.Go(func() error {
		<-intake.Done()
		return s.shutdown(ctx)
	})
	g.Go(func() error { return s.work(intake, nc, js, &lanes) })
	s.cfg.Log.Info("the HTTP door is open", "addr", s.Addr(), "loopback_only", s.loopback, "tls", s.tls != nil)
	err = g.Wait()

	// Nothing comes in any more. What is in the lanes ends within the hold
	// time, whether NATS is there or not.
	if s.door != nil {
		s.door.drain(&lanes)
	}
	if nc.IsConnected() { // the acknowledgements to IN
		if flushErr := nc.FlushTimeout(time.Second); flushErr != nil {
			s.cfg.Log.Info("last acknowledgements may be lost, their messages come again", "err", flushErr)
		}
	}
	return err
}

// awaitSources is how long the door stays closed for them.
const awaitSources = 3 * time.Second

// work opens the door and pulls from IN until ctx is done.
func (s *Ingester) work(ctx context.Context, nc *nats.Conn, js jetstream.JetStream, lanes *sync.WaitGroup) error {
	inst, maxPayload, err := s.reach(ctx, nc, js)
	if err != nil {
		if ctx.Err() != nil {
			return nil // told to stop before there was anything to drain
		}
		return err
	}
	// Only now: whoever reaches the streams has made the bucket too.
	var watching sync.WaitGroup
	defer watching.Wait()
	watch, unwatch := context.WithCancel(ctx)
	defer unwatch()
	watching.Go(func() { _ = s.sources.Run(watch, js, inst.Names) }) // its error is watch's
	d := newDoor(&s.cfg, inst, js, maxPayload, s.budget, s.sources, s.m)
	for _, l := range d.lanes {
		if err := l.measure(ctx); err != nil {
			s.cfg.Log.Warn("size of a stream is not known", "stream", l.stream, "err", err)
		}
		lanes.Go(l.run) // ended by drain
	}
	if d.limits.MaxRequest < s.cfg.Limits.MaxRequest {
		s.cfg.Log.Warn("NATS's max_payload lowers the request limit",
			"bytes", d.limits.MaxRequest, "wanted", s.cfg.Limits.MaxRequest, "max_payload", maxPayload,
			"frame_bytes", d.lanes[0].frameBytes)
	}
	asked, err := d.listen(nc)
	if err != nil {
		return err
	}
	// So that the first requests and messages find their source. Without an
	// answer those of flags are enough to begin.
	s.sources.Await(ctx, awaitSources)
	s.door = d
	close(s.opened)
	s.cfg.Log.Info("events are taken", "shards", inst.Shards, "incarnation", inst.Incarnation)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { d.watch(ctx); return nil })
	g.Go(func() error { d.lookIn(ctx, js); return nil })
	// The only error of these two is ctx's.
	g.Go(func() error { _ = bus.Present(ctx, js, inst.Names, "ingester", rand.Text()); return nil })
	g.Go(func() error { _ = bus.TellWhy(ctx, js, inst.Names, "ingester", d.stuck); return nil })
	empty := trimmer{d: d, js: js}
	g.Go(func() error { empty.run(ctx); return nil })
	g.Go(func() error { return d.pull(ctx, js) })
	g.Go(func() error { return asked.run(ctx, s.cfg.Log) })
	return g.Wait()
}

// reach waits for NATS and the streams.
func (s *Ingester) reach(ctx context.Context, nc *nats.Conn, js jetstream.JetStream) (inst bus.Installation, maxPayload int64, err error) {
	err = svc.Retry(ctx, s.cfg.Log, "reach NATS and the streams", func(ctx context.Context) error {
		if maxPayload, err = payloadOf(nc, s.cfg.Limits); err != nil {
			return lasting(err)
		}
		ask, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		inst, err = s.prepare(ask, js, maxPayload)
		return lasting(err)
	})
	return inst, maxPayload, err
}

// checks are what /readyz asks.
func (s *Ingester) checks(nc *nats.Conn) {
	s.cfg.Health.Register("nats", func(context.Context) error {
		if !nc.IsConnected() {
			return errors.New("not connected")
		}
		return nil
	})
	s.cfg.Health.Register("http", func(context.Context) error {
		select {
		case <-s.stopping:
			return errDraining
		default:
			return nil
		}
	})
	s.cfg.Health.Register("shards", func(context.Context) error {
		select {
		case <-s.opened:
		default:
			return errStarting
		}
		return s.m.lanes.Check()
	})
}

// shutdown lets the requests that are under way end. Each of them waits for
// the hold time at most, and one that is still sending its body is cut off.
func (s *Ingester) shutdown(ctx context.Context) error {
	close(s.stopping)
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Hold+2*time.Second)
	defer cancel()
	if err := s.server.Shutdown(stop); err != nil {
		s.cfg.Log.Warn("requests under way are cut off", "err", err)
		return s.server.Close()
	}
	return nil
}
