package up

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/libs/eventdb"
	"github.com/millrace/millrace/libs/localdb"
)

// The delays before a ClickHouse that ended is started again. A run of healthy
// forgets the earlier ones.
const (
	restartFirst = 250 * time.Millisecond
	restartLast  = 30 * time.Second
	healthy      = time.Minute
)

// databaseStop is how long ClickHouse may take to end: it writes nothing then,
// but may have merges to stop.
const databaseStop = 20 * time.Second

// database keeps a ClickHouse child alive.
type database struct {
	log      *slog.Logger
	restarts prometheus.Counter

	cfg localdb.Config // its ports are fixed after the first start

	mu     sync.Mutex // guards server
	server *localdb.Server
}

func startDatabase(ctx context.Context, cfg *Config, passwords localdb.Passwords, reg prometheus.Registerer) (*database, error) {
	d := &database{
		log: cfg.Log.With("service", "clickhouse"),
		restarts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "millrace_up_clickhouse_restarts_total",
			Help: "Times that the ClickHouse child ended by itself and was started again.",
		}),
		cfg: localdb.Config{
			Dir: filepath.Join(cfg.Dir, "clickhouse"), Engine: cfg.ClickHouse,
			HTTPPort: cfg.ClickHouseHTTPPort, TCPPort: cfg.ClickHouseNativePort,
			Passwords: passwords, Log: cfg.Log.With("service", "clickhouse"),
		},
	}
	reg.MustRegister(d.restarts)
	server, err := localdb.Start(ctx, d.cfg)
	if err != nil {
		return nil, fmt.Errorf("ClickHouse: %w", err)
	}
	d.server = server
	d.cfg.HTTPPort, d.cfg.TCPPort = server.Ports()
	return d, nil
}

func (d *database) current() *localdb.Server {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.server
}

// addrs stay the same through restarts.
func (d *database) addrs() localdb.Addrs { return d.current().Addrs() }

// as is the address for one of the users.
func (d *database) as(user, password string) eventdb.Config {
	return eventdb.Config{URL: d.addrs().URL(user, password)}
}

// Run starts the child again whenever it ends, until ctx is done; then it ends
// it. The services notice an outage themselves and go on trying.
func (d *database) Run(ctx context.Context) error {
	delay := restartFirst
	for {
		began := time.Now()
		select {
		case <-ctx.Done():
			return d.stop(ctx)
		case <-d.current().Done():
		}
		if time.Since(began) > healthy {
			delay = restartFirst
		}
		d.log.Error("clickhouse ended, starting it again", "err", d.current().Err(), "delay", delay.String())
		if !d.restart(ctx, &delay) {
			return nil // told to stop while there was no child
		}
	}
}

// restart tries until there is a child again or ctx is done.
func (d *database) restart(ctx context.Context, delay *time.Duration) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(*delay):
		}
		*delay = min(*delay*2, restartLast)
		server, err := localdb.Start(ctx, d.cfg)
		if ctx.Err() != nil && err != nil {
			return false
		}
		if err != nil {
			d.log.Error("clickhouse does not start", "err", err, "delay", delay.String())
			continue
		}
		d.restarts.Inc()
		d.mu.Lock()
		d.server = server
		d.mu.Unlock()
		d.log.Warn("clickhouse runs again", "pid", server.Pid(), "native", net.JoinHostPort("127.0.0.1", strconv.Itoa(d.cfg.TCPPort)))
		return true
	}
}

func (d *database) stop(ctx context.Context) error {
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), databaseStop)
	defer cancel()
	return d.current().Stop(end)
}
