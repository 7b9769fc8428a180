package query

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/bus/writekey"
	"github.com/millrace/millrace/libs/svc"
	"github.com/millrace/millrace/services/query/reader"
)

// Config of a query service. Log, Reg and Health are required.
type Config struct {
	Bus        bus.Config
	ClickHouse ClickHouse

	Addr           string        // to listen on; port 0 picks a free one
	Keys           Keys          // bearer keys that may ask everything; without them and AccessFile, Addr must be on loopback
	AccessFile     string        // of keys with scopes, sources and quotas; see package access
	WriteKeys      writekey.Keys // of sources, which may send the asks of their own users
	SourceKeys     bool          // the write keys of `millrace source add` may do the same
	WriteKeyRate   int           // asks a second of each of them; 0 is 50, less bounds nothing
	WriteKeyBurst  int           // that may come at once; 0 is 100
	OpenNATSDoor   bool          // questions over NATS are taken without keys too, wherever NATS is
	TrustedProxies svc.Networks
	Queries        string        // the directory of the named queries; "" is none
	MaxTime        time.Duration // of one question, waiting for ?after= not included
	MaxConcurrent  int           // questions at the same time
	TailMemory     int64         // bytes that frames on their way to ClickHouse may take here; 0 is 256 MiB
	UserMemory     int64         // bytes that users who were asked about lately may take; 0 is 128 MiB

	Log    *slog.Logger
	Reg    prometheus.Registerer
	Health *svc.Health
}

// ClickHouse says where the HTTP interface is and who the readers are.
type ClickHouse = reader.Config

// RegisterFlags declares the flags with their defaults.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	c.Bus.RegisterFlags(fs)
	c.Defaults()
	fs.StringVar(&c.Addr, "query-addr", c.Addr, "`address` for questions: SQL, reports, asks, live events and the rest that GET /openapi.json lists")
	fs.Var(&c.Keys, "api-keys", "bearer `keys` that questions must show one of, joined by commas; needed when query-addr is not on loopback (better: MILLRACE_API_KEYS_FILE)")
	fs.StringVar(&c.AccessFile, "access-file", c.AccessFile, "YAML `file` of further keys with their scopes, sources and quotas; read again when it changes")
	fs.Var(&c.WriteKeys, "write-keys", "write keys of sources as the ingester knows them, `source:key` pairs joined by commas; with them, POST /v1/ask tells whoever has one about any user of the source; without them an ask needs an API key (better: MILLRACE_WRITE_KEYS_FILE)")
	fs.BoolVar(&c.SourceKeys, "ask-with-source-keys", c.SourceKeys, "the write keys of millrace source add may send asks too, as those of --write-keys do: each tells whoever has it about any user of its source")
	fs.IntVar(&c.WriteKeyRate, "write-key-rate", c.WriteKeyRate, "asks a second that each of the write keys may send, as they may be public (-1: without bounds); an API key has the quota of the access file")
	fs.IntVar(&c.WriteKeyBurst, "write-key-burst", c.WriteKeyBurst, "asks of one write key that may come at once")
	fs.BoolVar(&c.OpenNATSDoor, "nats-questions-without-keys", c.OpenNATSDoor, "take questions over NATS although there are no keys and NATS is not on this machine: whoever may publish <prefix>.query.> there reads all events")
	fs.Var(&c.TrustedProxies, "trusted-proxies", "`addresses` or ranges whose X-Forwarded-For is believed, separated by commas")
	fs.StringVar(&c.Queries, "queries", c.Queries, "`directory` of named queries, one <name>.sql each; read again when it changes")
	fs.StringVar(&c.ClickHouse.URL, "clickhouse-http-url", c.ClickHouse.URL, "`URL` of ClickHouse's HTTP interface")
	fs.StringVar(&c.ClickHouse.User, "clickhouse-user", c.ClickHouse.User, "ClickHouse user `name`; it must not be able to do more than SELECT")
	fs.StringVar(&c.ClickHouse.Scoped, "clickhouse-scoped-user", c.ClickHouse.Scoped, "ClickHouse user `name` for keys of some sources: its row policies show those only; its password is clickhouse-user's")
	fs.Var(&c.ClickHouse.Password, "clickhouse-password", "ClickHouse `password` (better: MILLRACE_CLICKHOUSE_PASSWORD_FILE)")
	fs.StringVar(&c.ClickHouse.Database, "clickhouse-database", c.ClickHouse.Database, "ClickHouse database `name`")
	fs.DurationVar(&c.MaxTime, "max-query-time", c.MaxTime, "longest `time` of one question; the user's profile in ClickHouse usually ends it earlier")
	fs.IntVar(&c.MaxConcurrent, "max-queries", c.MaxConcurrent, "questions that run at the same time")
	fs.Var((*svc.Bytes)(&c.TailMemory), "tail-memory", "most `bytes` of events that are not in ClickHouse yet, which answers about users look into; what is over it lacks in them, and they say so")
	fs.Var((*svc.Bytes)(&c.UserMemory), "user-memory", "most `bytes` of users that are kept because they were asked about lately")
}

// Defaults fills what is zero.
func (c *Config) Defaults() {
	or := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	or(&c.Addr, "127.0.0.1:8090")
	or(&c.ClickHouse.URL, "http://127.0.0.1:8123")
	or(&c.ClickHouse.User, "millrace_reader")
	or(&c.ClickHouse.Scoped, "millrace_scoped")
	or(&c.ClickHouse.Database, "millrace")
	if c.MaxTime == 0 {
		// A little more than the profile of the reader lets anybody ask for, so that ClickHouse's own words come first.
		c.MaxTime = 305 * time.Second
	}
	if c.MaxConcurrent == 0 {
		c.MaxConcurrent = 64
	}
	if c.WriteKeyRate == 0 {
		c.WriteKeyRate = 50
	}
	if c.WriteKeyBurst == 0 {
		c.WriteKeyBurst = 100
	}
	if c.TailMemory == 0 {
		c.TailMemory = 256 << 20
	}
	if c.UserMemory == 0 {
		c.UserMemory = 128 << 20
	}
}

// Validate checks what can be checked without a connection.
func (c *Config) Validate() error {
	switch u, err := url.Parse(c.ClickHouse.URL); {
	case c.Log == nil || c.Reg == nil || c.Health == nil:
		return errors.New("query: Log, Reg and Health are required")
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return errors.New("clickhouse-http-url: want an address like http://127.0.0.1:8123")
	case u.User != nil:
		return errors.New("clickhouse-http-url: put user and password into clickhouse-user and clickhouse-password")
	case c.MaxTime <= 0 || c.MaxConcurrent < 1:
		return fmt.Errorf("max-query-time %s and max-queries %d must be positive", c.MaxTime, c.MaxConcurrent)
	}
	if c.WriteKeyBurst < 1 {
		return fmt.Errorf("write-key-burst %d must be positive", c.WriteKeyBurst)
	}
	if err := c.Bus.Validate(); err != nil {
		return err
	}
	return mayListen(c.Addr, len(c.Keys) > 0 || c.AccessFile != "")
}

// Command is the query service as a process of its own; see svc.Main.
func Command(fs *flag.FlagSet) func(svc.Env) (svc.Service, error) {
	var cfg Config
	cfg.RegisterFlags(fs)
	return func(env svc.Env) (svc.Service, error) {
		cfg.Log, cfg.Reg, cfg.Health = env.Log, env.Reg, env.Health
		return New(cfg)
	}
}
