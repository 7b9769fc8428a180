// Package ingester is the way in: it takes events over HTTP (POST /v1/events,
// and what the SDKs of Segment, RudderStack, PostHog and CloudEvents send)
// and from the NATS door (stream IN), checks keys and limits, cuts them into
// frames by shard and writes these to the RAW streams.
//
//	HTTP request ─┐ route, receive, decode      accept.go: rows    batch.go: one open     publish.go
//	              ├─▶ (http.go, body.go) ─────▶ of one body ─────▶ frame per shard ─────▶ RAW_<shard>
//	NATS message ─┤ (natsdoor.go)               admission.go       (group commit)         until acknowledged
//	NATS request ─┘ (askdoor.go)
//
// The paths of other systems' SDKs (routes.go) have a mapper of package dialect between the body and its rows (mapped.go).
//
// Guarantee: a request is answered with 200, and a message acknowledged to IN,
// only after JetStream has acknowledged every frame that holds one of its
// events. A body that cannot be read stores nothing; of one that can, every
// event is in RAW, the refused ones marked and with their original bytes.
//
// Invariants: frames of a shard are sent in the order in which their first
// row came; whether a request is admitted is decided before its first row is
// in a frame; a frame keeps its Nats-Msg-Id through all repetitions, so RAW
// has it once; a shard whose log went back takes nothing any more.
package ingester

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/bus/writekey"
	"github.com/millrace/millrace/libs/event"
	"github.com/millrace/millrace/libs/svc"
)

// Config is all that an ingester can be told. Log, Reg and Health are
// required; RegisterFlags sets the defaults of the rest, and New those of
// fields that are zero.
type Config struct {
	Bus bus.Config

	// Addr is where HTTP is taken; port 0 picks a free one. Listener, when set,
	// is used instead.
	Addr     string
	Listener net.Listener

	// TLSCert and TLSKey are PEM files; both or none. They are read again when
	// they change.
	TLSCert string
	TLSKey  string
	// MaxConns bounds the HTTP connections, MaxConnsEach those of one address
	// that is no trusted proxy.
	MaxConns     int
	MaxConnsEach int

	WriteKeys      writekey.Keys
	TrustedProxies svc.Networks

	Linger      time.Duration // how long a frame waits for more rows
	Hold        time.Duration // how long a request waits for NATS
	FrameBytes  int           // cap of a frame's uncompressed rows; lowered to a sixteenth of NATS's max payload
	FrameEvents int           // cap of a frame's rows
	MaxInFlight int64         // bytes of requests and frames in memory
	Limits      event.Limits

	// ManageStreams: create and resize the streams by Plan; otherwise wait
	// until somebody has. Zero fields of Plan mean what exists, or defaults.
	ManageStreams bool
	Plan          bus.Plan

	// Admit, when set, can keep all events out (429); its error is shown to
	// the sender. It is asked for every request and must be quick.
	Admit func() error

	Log    *slog.Logger
	Reg    prometheus.Registerer
	Health *svc.Health
}

// DefaultAddr is where HTTP is taken unless told otherwise.
const DefaultAddr = "127.0.0.1:8080"

// Defaults of Config. 512 KiB and 2,000 events a frame are where larger ones
// gain nothing any more; 8 s is below the 10 s after which SDKs give up.
const (
	defaultLinger      = 3 * time.Millisecond
	defaultHold        = 8 * time.Second
	defaultFrameBytes  = 512 << 10
	defaultFrameEvents = 2_000
	defaultMaxInFlight = 256 << 20

	// A connection that does nothing costs about 20 KiB, and one address may be
	// that of a whole office.
	defaultMaxConns     = 10_000
	defaultMaxConnsEach = 2_000
)

// RegisterFlags declares the flags with their defaults.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	c.Bus.RegisterFlags(fs)
	c.Limits = event.DefaultLimits()
	c.MaxInFlight = defaultMaxInFlight
	fs.StringVar(&c.Addr, "ingest-addr", DefaultAddr, "`address` of the HTTP door")
	fs.StringVar(&c.TLSCert, "ingest-tls-cert", "", "`file` with the certificate of the HTTP door and those above it, in PEM; read again when it changes")
	fs.StringVar(&c.TLSKey, "ingest-tls-key", "", "`file` with the key of --ingest-tls-cert, in PEM")
	fs.IntVar(&c.MaxConns, "ingest-max-conns", defaultMaxConns, "most connections of the HTTP door at the same time; more are closed")
	fs.IntVar(&c.MaxConnsEach, "ingest-max-conns-each", defaultMaxConnsEach, "most connections of one client address, or of one /64 of IPv6; those of --trusted-proxies are not counted")
	fs.Var(&c.WriteKeys, "write-keys", "who may send: `source:key` pairs, separated by commas")
	fs.Var(&c.TrustedProxies, "trusted-proxies", "`addresses` or ranges whose X-Forwarded-For is believed, separated by commas")
	fs.DurationVar(&c.Linger, "linger", defaultLinger, "how long a frame waits for more events")
	fs.DurationVar(&c.Hold, "hold", defaultHold, "how long a request waits while NATS is away, before 503")
	fs.IntVar(&c.FrameBytes, "frame-bytes", defaultFrameBytes, "most bytes of a frame's events; never above a sixteenth of NATS's max payload")
	fs.IntVar(&c.FrameEvents, "frame-events", defaultFrameEvents, "most events of a frame")
	fs.Var((*svc.Bytes)(&c.MaxInFlight), "max-in-flight", "most `bytes` of requests and frames in memory; more is answered with 429")
	fs.BoolVar(&c.ManageStreams, "manage-streams", true, "create and resize the streams; false: wait until they exist")
	RegisterPlan(fs, &c.Plan)
}

// withDefaults fills what is zero.
func (c Config) withDefaults() Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.Linger, defaultLinger)
	def(&c.Hold, defaultHold)
	if c.FrameBytes == 0 {
		c.FrameBytes = defaultFrameBytes
	}
	if c.FrameEvents == 0 {
		c.FrameEvents = defaultFrameEvents
	}
	if c.MaxConns == 0 {
		c.MaxConns = defaultMaxConns
	}
	if c.MaxConnsEach == 0 {
		c.MaxConnsEach = defaultMaxConnsEach
	}
	if c.MaxInFlight == 0 {
		c.MaxInFlight = defaultMaxInFlight
	}
	if c.Limits == (event.Limits{}) {
		c.Limits = event.DefaultLimits()
	}
	if c.Addr == "" {
		c.Addr = DefaultAddr
	}
	return c
}

// Validate checks what can be checked without a connection.
func (c *Config) Validate() error {
	if c.Log == nil || c.Reg == nil || c.Health == nil {
		return errors.New("ingester: Log, Reg and Health are required")
	}
	if err := c.Bus.Validate(); err != nil {
		return err
	}
	if err := c.Limits.Validate(); err != nil {
		return err
	}
	switch {
	case c.Linger < 0 || c.Linger > time.Second:
		return fmt.Errorf("linger %s: want 0 to 1s", c.Linger)
	case c.Hold < 0 || c.Hold > time.Minute:
		return fmt.Errorf("hold %s: want up to 1m", c.Hold)
	case c.FrameBytes < 1<<10:
		return fmt.Errorf("frame-bytes %d: want 1024 at least", c.FrameBytes)
	case c.MaxConns < 1:
		return fmt.Errorf("ingest-max-conns %d: want 1 at least", c.MaxConns)
	case c.MaxConnsEach < 1:
		return fmt.Errorf("ingest-max-conns-each %d: want 1 at least", c.MaxConnsEach)
	case c.FrameEvents < 1:
		return fmt.Errorf("frame-events %d: want 1 at least", c.FrameEvents)
	case c.MaxInFlight < 4*int64(c.Limits.MaxRequest):
		return fmt.Errorf("max-in-flight %d: want four times the request limit of %d bytes at least", c.MaxInFlight, c.Limits.MaxRequest)
	}
	return nil
}

// Command is the ingester as a process of its own: svc.Main runs it.
func Command(fs *flag.FlagSet) func(svc.Env) (svc.Service, error) {
	cfg := &Config{}
	cfg.RegisterFlags(fs)
	return func(env svc.Env) (svc.Service, error) {
		cfg.Log, cfg.Reg, cfg.Health = env.Log, env.Reg, env.Health
		return New(*cfg)
	}
}
