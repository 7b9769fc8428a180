package up

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/bus/writekey"
	"github.com/millrace/millrace/libs/event"
	"github.com/millrace/millrace/libs/localdb"
	"github.com/millrace/millrace/libs/svc"
	"github.com/millrace/millrace/services/enricher"
	"github.com/millrace/millrace/services/indexer"
	"github.com/millrace/millrace/services/ingester"
	"github.com/millrace/millrace/services/millrace/client"
	"github.com/millrace/millrace/services/millrace/demo"
	"github.com/millrace/millrace/services/query"
)

// maxRequest is also the largest message of the NATS door.
var maxRequest = int32(event.DefaultLimits().MaxRequest)

// registerer is what metrics are registered with.
type registerer = *prometheus.Registry

// parts are what the services are made of.
type parts struct {
	conn    bus.Config
	nats    *natsServer
	db      *database
	secrets Secrets
	budget  Budget
	reg     registerer
	health  *svc.Health
	say     *narrator
}

// process is the installation, ready to run.
type process struct {
	svc.Process
	ready Ready
}

// assemble makes the services. They are listed from the ground up: they stop
// in the opposite order, so that each still has what it stands on.
func assemble(cfg *Config, p parts) (process, error) {
	var made []svc.Named
	add := func(name string, s svc.Service) {
		made = append(made, svc.Named{Name: name, Service: farewell{s, name, p.say}})
	}
	admin, err := svc.NewAdmin(svc.AdminConfig{Addr: cfg.AdminAddr, Reg: p.reg, Health: p.health, Log: cfg.Log})
	if err != nil {
		return process{}, err
	}
	fail := func(err error) (process, error) { return process{}, errors.Join(err, admin.Close()) }

	keys := cfg.WriteKeys
	for source, key := range p.secrets.WriteKeys {
		if err := keys.Add(source, key); err != nil {
			return fail(fmt.Errorf("write keys: %w", err))
		}
	}
	asks := keys
	if cfg.AskNeedsAPIKey {
		asks = writekey.Keys{}
	}
	questions, err := query.New(query.Config{
		Bus: p.conn, Addr: cfg.QueryAddr, Keys: cfg.APIKeys, AccessFile: cfg.AccessFile, WriteKeys: asks, SourceKeys: !cfg.AskNeedsAPIKey, Queries: cfg.Queries,
		TrustedProxies: cfg.TrustedProxies, WriteKeyRate: cfg.WriteKeyRate, WriteKeyBurst: cfg.WriteKeyBurst, UserMemory: int64(cfg.UserMemory),
		ClickHouse: query.ClickHouse{URL: p.db.addrs().HTTP, User: localdb.ReaderUser, Password: svc.Secret(p.secrets.ClickHouse.Reader), Database: localdb.Database},
		Log:        cfg.Log.With("service", "query"), Reg: p.reg, Health: p.health.For("query"),
	})
	if err != nil {
		return fail(err)
	}
	index, err := indexer.New(indexer.Config{
		Bus: p.conn, DB: p.db.as(localdb.WriterUser, p.secrets.ClickHouse.Writer),
		Log: cfg.Log.With("service", "indexer"), Reg: p.reg, Health: p.health.For("indexer"),
	})
	if err != nil {
		return fail(err)
	}
	enrich, err := enricher.New(enricher.Config{
		Bus: p.conn, DedupWindow: cfg.DedupWindow, Log: cfg.Log.With("service", "enricher"), Reg: p.reg, Health: p.health.For("enricher"),
	})
	if err != nil {
		return fail(err)
	}
	disk := newGuard(cfg.Dir, p.budget.Total, cfg.Log.With("service", "up"), p.reg, p.health.For("up"))
	door, err := ingester.New(ingester.Config{
		Bus: p.conn, Addr: cfg.IngestAddr, WriteKeys: keys, TrustedProxies: cfg.TrustedProxies, Admit: disk.admit,
		TLSCert: cfg.IngestTLSCert, TLSKey: cfg.IngestTLSKey, MaxConns: cfg.IngestMaxConns, MaxConnsEach: cfg.IngestMaxConnsEach,
		Log: cfg.Log.With("service", "ingester"), Reg: p.reg, Health: p.health.For("ingester"),
	})
	if err != nil {
		return fail(err)
	}
	add("nats", p.nats)
	add("clickhouse", p.db)
	add("query", questions)
	add("indexer", index)
	add("enricher", enrich)
	add("disk guard", disk)
	add("last events", &settler{conn: p.conn, log: cfg.Log.With("service", "up")})
	add("ingester", door)

	scheme := "http://"
	if cfg.IngestTLSCert != "" {
		scheme = "https://"
	}
	ready := Ready{
		Ingest: scheme + reachable(door.Addr()), Query: "http://" + reachable(questions.Addr().String()),
		NATS: p.nats.ClientURL(), ClickHouseHTTP: p.db.addrs().HTTP, ClickHouseNative: p.db.addrs().Native,
		Admin: "http://" + reachable(admin.Addr().String()), Source: cfg.Source, WriteKey: p.secrets.WriteKeys[cfg.Source],
	}
	if cfg.Demo {
		traffic, err := shopTraffic(cfg, ready)
		if err != nil {
			return fail(err)
		}
		add("demo", traffic)
	}
	return process{
		Process: svc.Process{Log: cfg.Log, Health: p.health, Admin: admin, Services: made, DrainTimeout: cfg.DrainTimeout},
		ready:   ready,
	}, nil
}

func shopTraffic(cfg *Config, ready Ready) (*demo.Traffic, error) {
	door, err := client.New(client.Config{URL: ready.Ingest, Key: ready.WriteKey, Flag: "ingest-addr", Patience: 5 * time.Second})
	if err != nil {
		return nil, err
	}
	return demo.New(demo.Config{Door: door, Log: cfg.Log.With("service", "demo"), Rate: cfg.DemoRate, Seed: cfg.demoSeed()})
}

// farewell says when a service has drained.
type farewell struct {
	svc.Service
	name string
	say  *narrator
}

func (f farewell) Run(ctx context.Context) error {
	told := make(chan time.Time, 1)
	stop := context.AfterFunc(ctx, func() { told <- time.Now() })
	err := f.Service.Run(ctx)
	if !stop() {
		f.say.step(fmt.Sprintf("%-11s %5s  stopped", f.name, seconds(time.Since(<-told))))
	}
	return err
}

// readyPatience is how long the services may take: a shard reads back an hour
// of events to know repeats.
const readyPatience = 5 * time.Minute

// errEnded says that there is nothing to wait for any more.
var errEnded = errors.New("ended before everything was ready")

// untilReady returns when every readiness check passes. ended keeps what is in
// it for the caller.
func (p process) untilReady(ctx context.Context, ended chan error) error {
	deadline := time.Now().Add(readyPatience)
	for {
		results, ok := p.Health.Check(ctx)
		if ok {
			return nil
		}
		if time.Now().After(deadline) {
			for _, r := range results {
				if r.Err != nil {
					return fmt.Errorf("not ready after %s: %s: %w", readyPatience, r.Name, r.Err)
				}
			}
		}
		select {
		case <-ctx.Done():
			return errEnded
		case err := <-ended:
			ended <- err
			return errEnded
		case <-time.After(20 * time.Millisecond):
		}
	}
}
