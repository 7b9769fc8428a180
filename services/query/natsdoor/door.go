package natsdoor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/nats-io/nuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/svc"
)

// Endpoint is one kind of question.
type Endpoint struct {
	Name   string // letters, digits, - and _
	Method string
	// Path as http.ServeMux has it; {name} is filled from the parameter of that name, or, if Rest is set, from the last
	// token of the subject.
	Path string
	// Rest: the subject has one more token, of any text.
	Rest  bool
	Body  bool // the message is the body
	About string
}

// subject of the endpoint, without what the group begins with.
func (e Endpoint) subject() string {
	if e.Rest {
		return e.Name + ".*"
	}
	return e.Name
}

// Config of a door. The last group may be left out.
type Config struct {
	NC        *nats.Conn
	Group     string // what all subjects begin with, such as millrace.query
	Name      string // of the service, such as millrace-query
	Version   string
	About     string
	Endpoints []Endpoint
	Handler   http.Handler // answers, as it does over HTTP
	Log       *slog.Logger

	Patience   time.Duration // of one request; 0: 5 min
	Drain      time.Duration // that requests under way have when Run is told to stop; 0: 20 s
	MaxRunning int           // requests at the same time; 0: 256

	Astray prometheus.Counter // of requests that name no inbox as their reply; nil: nothing counts them
}

// Door takes requests while Run runs.
type Door struct {
	cfg     Config
	id      string
	started time.Time
	free    chan struct{} // one for each request that runs
	stats   []*stats      // by endpoint
	astray  svc.Repeated  // log lines about replies that go nowhere
}

// stats are what one endpoint has done.
type stats struct {
	mu       sync.Mutex // guards all below
	requests int
	errors   int
	last     string // error
	spent    time.Duration
}

func (s *stats) note(spent time.Duration, wrong string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	s.spent += spent
	if wrong != "" {
		s.errors++
		s.last = wrong
	}
}

var (
	validName    = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	validVersion = regexp.MustCompile(`^\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?$`)
)

// New checks cfg.
func New(cfg Config) (*Door, error) {
	if cfg.NC == nil || cfg.Handler == nil || cfg.Log == nil || cfg.Group == "" {
		return nil, errors.New("nats door: NC, Handler, Log and Group are required")
	}
	if cfg.Patience == 0 {
		cfg.Patience = 5 * time.Minute
	}
	if cfg.Drain == 0 {
		cfg.Drain = 20 * time.Second
	}
	if cfg.MaxRunning == 0 {
		cfg.MaxRunning = 256
	}
	if !validVersion.MatchString(cfg.Version) { // the protocol wants a semantic version; a development build has none
		cfg.Version = "0.0.0"
	}
	d := &Door{cfg: cfg, id: nuid.Next(), started: time.Now().UTC(), free: make(chan struct{}, cfg.MaxRunning)}
	var names []string
	for _, e := range cfg.Endpoints {
		if !validName.MatchString(e.Name) || slices.Contains(names, e.Name) || !strings.HasPrefix(e.Path, "/") {
			return nil, fmt.Errorf("nats door: endpoint %q with path %q", e.Name, e.Path)
		}
		names = append(names, e.Name)
		d.stats = append(d.stats, &stats{})
	}
	if !validName.MatchString(cfg.Name) {
		return nil, fmt.Errorf("nats door: the name %q is none of a service", cfg.Name)
	}
	return d, nil
}

// queue is the group within which one service gets a request: the name that nats.go/micro uses.
const queue = micro.DefaultQueueGroup

// Run takes requests until ctx is done, and then answers those that it has. It waits for no connection: the client
// subscribes again whenever NATS comes back.
func (d *Door) Run(ctx context.Context) error {
	var subs []*nats.Subscription
	var running sync.WaitGroup
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer func() {
		for _, s := range subs {
			_ = s.Unsubscribe() // a connection that is gone has no subscriptions
		}
		overdue := time.AfterFunc(d.cfg.Drain, stop)
		defer overdue.Stop()
		running.Wait()
	}()
	for i, e := range d.cfg.Endpoints {
		sub, err := d.cfg.NC.QueueSubscribe(d.cfg.Group+"."+e.subject(), queue, func(m *nats.Msg) {
			if d.strays(m) {
				return
			}
			select {
			case d.free <- struct{}{}:
			default:
				d.refuse(m, d.stats[i])
				return
			}
			running.Go(func() {
				defer func() { <-d.free }()
				d.answer(work, m, e, d.stats[i])
			})
		})
		if err != nil {
			return fmt.Errorf("take requests on %s.%s: %w", d.cfg.Group, e.subject(), err)
		}
		subs = append(subs, sub)
	}
	control, err := d.discovery()
	subs = append(subs, control...)
	if err != nil {
		return err
	}
	d.cfg.Log.Info("requests are taken over NATS", "subject", d.cfg.Group+".>", "endpoints", len(d.cfg.Endpoints))
	<-ctx.Done()
	return nil
}

// strays says whether a request wants its answer elsewhere than in an inbox. Nothing is done for it: the answer would be
// written wherever this service may write, and not only where the asker may.
func (d *Door) strays(m *nats.Msg) bool {
	if m.Reply == "" || bus.MayAnswer(m.Reply) {
		return false
	}
	if d.cfg.Astray != nil {
		d.cfg.Astray.Inc()
	}
	if times, due := d.astray.Again(); due {
		d.cfg.Log.Warn("a request wants its answer on a subject that is no inbox, and is left out: look who may publish it",
			"subject", m.Subject, "reply", m.Reply, "times", times)
	}
	return true
}
