package live

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/services/query/access"
	"github.com/millrace/millrace/services/query/tail"
)

// Config of the live stream. All but the last group are required.
type Config struct {
	NC    *nats.Conn
	JS    jetstream.JetStream
	Names bus.Names
	// Installation reads what the streams say about themselves.
	Installation func(context.Context) (bus.Installation, error)
	Tail         *tail.Tail
	Log          *slog.Logger
	Reg          prometheus.Registerer
	// Stopping is closed when readers are to be sent away, before Run ends.
	Stopping <-chan struct{}

	Numbers Numbers // for GET /v1/live/sql; without it there is none

	MaxReaders int           // at the same time; 0: 256
	Stall      time.Duration // that a reader's connection may take nothing; 0: 10 s
	Slow       time.Duration // that a reader may be behind, once it was at the end; 0: 30 s
	Lifetime   time.Duration // after which a reader is asked to come back; 0: 1 h
	Beat       time.Duration // of silence, after which a reader is told its position; 0: 15 s
}

// Live serves readers. Its methods may be called from any goroutine.
type Live struct {
	cfg     Config
	log     *slog.Logger
	history history
	metrics *metrics
	seats   *access.Places // one for each reader
}

// New checks cfg and fills its defaults.
func New(cfg Config) (*Live, error) {
	if cfg.NC == nil || cfg.JS == nil || cfg.Installation == nil || cfg.Tail == nil || cfg.Log == nil || cfg.Reg == nil || cfg.Stopping == nil {
		return nil, errors.New("live: NC, JS, Installation, Tail, Log, Reg and Stopping are required")
	}
	if cfg.MaxReaders == 0 {
		cfg.MaxReaders = 256
	}
	for d, otherwise := range map[*time.Duration]time.Duration{
		&cfg.Stall: 10 * time.Second, &cfg.Slow: 30 * time.Second, &cfg.Lifetime: time.Hour, &cfg.Beat: 15 * time.Second,
	} {
		if *d == 0 {
			*d = otherwise
		}
	}
	return &Live{
		cfg: cfg, log: cfg.Log, history: history{js: cfg.JS, names: cfg.Names}, metrics: newMetrics(cfg.Reg),
		seats: access.NewPlaces(cfg.MaxReaders, "readers are connected"),
	}, nil
}

// Run publishes on NATS for those who listen there, until ctx is done. Readers over HTTP need no Run.
func (l *Live) Run(ctx context.Context) error { return l.publish(ctx) }
