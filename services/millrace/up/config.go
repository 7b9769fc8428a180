package up

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/bus/writekey"
	"github.com/millrace/millrace/libs/eventdb"
	"github.com/millrace/millrace/libs/svc"
	"github.com/millrace/millrace/services/ingester"
	"github.com/millrace/millrace/services/millrace/demo"
	"github.com/millrace/millrace/services/query"
)

// DefaultDir is where an installation lies unless told otherwise, and where
// the other commands look for one that runs.
const DefaultDir = "./millrace-data"

// Config of a whole installation. Out and Log are required.
type Config struct {
	Dir     string
	MaxDisk svc.Bytes // budget of everything in Dir; 0: see defaultBudget
	Shards  int       // 0: defaultShards, or what exists
	Sinks   int       // 0: bus.DefaultSinks, or what exists

	IngestAddr           string
	IngestTLSCert        string // files in PEM; "" is no TLS
	IngestTLSKey         string
	IngestMaxConns       int // see ingester.Config
	IngestMaxConnsEach   int
	QueryAddr            string
	AdminAddr            string
	NATSPort             int
	ClickHouseHTTPPort   int
	ClickHouseNativePort int

	Source         string
	WriteKey       svc.Secret    // of Source; "" makes one and keeps it
	WriteKeys      writekey.Keys // of further sources
	AskNeedsAPIKey bool          // an ask with a write key is refused
	WriteKeyRate   int           // of asks, see query.Config
	WriteKeyBurst  int
	UserMemory     svc.Bytes  // of users that are kept, see query.Config
	APIKeys        query.Keys // for questions from other machines
	AccessFile     string     // of keys with scopes, sources and quotas
	Queries        string     // the directory of the named queries
	TrustedProxies svc.Networks
	Durability     string
	DedupWindow    time.Duration
	ClickHouse     string // path of the engine; "" looks for one

	Demo     bool
	DemoRate float64
	DemoSeed uint64

	ReadyFile    string
	DrainTimeout time.Duration
	LogLevel     string
	LogFormat    string

	Out io.Writer    // for people: what it is doing, and the addresses
	Log *slog.Logger // for operators
}

// RegisterFlags declares the flags with their defaults.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.Dir, "dir", DefaultDir, "`directory` that holds everything; created if missing")
	fs.Var(&c.MaxDisk, "max-disk", "most `bytes` that everything in --dir may take, such as 20GiB (0: 20GiB or half of what is free, whichever is less)")
	fs.IntVar(&c.Shards, "shards", 0, "number of shards of a new installation; cannot be changed later (0: the machine's cores, at most 4; or what exists)")
	fs.IntVar(&c.Sinks, "sinks", 0, "number of sinks of a new installation: how many blocks go into ClickHouse at once, at most one a shard; cannot be changed later (0: 1, or what exists)")
	fs.StringVar(&c.IngestAddr, "ingest-addr", ingester.DefaultAddr, "`address` that takes events")
	fs.StringVar(&c.IngestTLSCert, "ingest-tls-cert", "", "`file` with the certificate of --ingest-addr and those above it, in PEM; read again when it changes")
	fs.StringVar(&c.IngestTLSKey, "ingest-tls-key", "", "`file` with the key of --ingest-tls-cert, in PEM")
	fs.IntVar(&c.IngestMaxConns, "ingest-max-conns", 0, "most `connections` of --ingest-addr at the same time; more are closed (0: 10000)")
	fs.IntVar(&c.IngestMaxConnsEach, "ingest-max-conns-each", 0, "most `connections` of one client address; those of --trusted-proxies are not counted (0: 2000)")
	fs.StringVar(&c.QueryAddr, "query-addr", "127.0.0.1:8090", "`address` that answers questions")
	fs.StringVar(&c.AdminAddr, "admin-addr", "127.0.0.1:9090", "`address` for /livez, /readyz, /metrics and /debug/pprof of all services")
	fs.IntVar(&c.NATSPort, "nats-port", 4222, "`port` of NATS on 127.0.0.1")
	fs.IntVar(&c.ClickHouseHTTPPort, "clickhouse-http-port", 8123, "`port` of ClickHouse's HTTP on 127.0.0.1")
	fs.IntVar(&c.ClickHouseNativePort, "clickhouse-native-port", 9000, "`port` of ClickHouse's native protocol on 127.0.0.1")
	fs.StringVar(&c.Source, "source", "demo", "`name` of the source that the write key belongs to")
	fs.Var(&c.WriteKey, "write-key", "write `key` of --source (default: one that is made once and kept in --dir)")
	fs.Var(&c.WriteKeys, "write-keys", "write keys of further sources: `source:key` pairs, separated by commas")
	fs.BoolVar(&c.AskNeedsAPIKey, "ask-needs-api-key", false, "refuse asks with a write key, which tell whoever has one about any user of its source: set it where write keys are in web pages")
	fs.IntVar(&c.WriteKeyRate, "write-key-rate", 0, "asks a `second` that each write key may send (0: 50, -1: without bounds)")
	fs.IntVar(&c.WriteKeyBurst, "write-key-burst", 0, "asks of one write key that may come at `once` (0: 100)")
	fs.Var(&c.UserMemory, "user-memory", "most `bytes` of users that are kept because they are active or were asked about lately (0: 128MiB)")
	fs.Var(&c.APIKeys, "api-keys", "bearer `keys` for questions; needed when --query-addr is not on loopback")
	fs.StringVar(&c.AccessFile, "access-file", "", "YAML `file` of API keys with their scopes, sources and quotas; read again when it changes")
	fs.StringVar(&c.Queries, "queries", "", "`directory` of named queries, one <name>.sql each; read again when it changes")
	fs.Var(&c.TrustedProxies, "trusted-proxies", "`addresses` or ranges whose X-Forwarded-For is believed, separated by commas")
	fs.StringVar(&c.Durability, "durability", string(eventdb.DurabilityProcess), "what an acknowledged event survives: `process` (the end of any process) or power (a power loss too; slower)")
	fs.DurationVar(&c.DedupWindow, "dedup-window", time.Hour, "`time` for which a repeated message id is recognised")
	fs.StringVar(&c.ClickHouse, "clickhouse", "", "`path` of a clickhouse binary or libchdb.so (default: found, see `make engine`)")
	fs.BoolVar(&c.Demo, "demo", false, "send the traffic of a small shop to --source")
	fs.Float64Var(&c.DemoRate, "demo-rate", 50, "`events` a second of --demo")
	fs.Uint64Var(&c.DemoSeed, "demo-seed", 0, "`number` that decides what happens in the shop (0: another shop each time)")
	fs.StringVar(&c.ReadyFile, "ready-file", "", "`file` that is written with all addresses as JSON when everything is ready, and removed at the end")
	fs.DurationVar(&c.DrainTimeout, "drain-timeout", 60*time.Second, "longest `time` to finish accepted work when stopping")
	fs.StringVar(&c.LogLevel, "log-level", "warn", "least `level` that is logged: debug, info, warn or error")
	fs.StringVar(&c.LogFormat, "log-format", "text", "log lines as json or text, on standard error")
}

// Validate checks what can be checked without touching anything.
func (c *Config) Validate() error {
	switch {
	case c.Out == nil || c.Log == nil:
		return errors.New("up: Out and Log are required")
	case c.Dir == "":
		return errors.New("--dir: must not be empty")
	case c.Shards < 0 || c.Shards > 256:
		return fmt.Errorf("--shards %d: want 1 to 256", c.Shards)
	case c.Sinks < 0 || c.Shards > 0 && c.Sinks > c.Shards:
		return fmt.Errorf("--sinks %d: want 1 to as many as there are shards", c.Sinks)
	case c.MaxDisk < 0:
		return errors.New("--max-disk: must not be negative")
	case c.Demo && c.IngestTLSCert != "":
		return errors.New("--demo: not with --ingest-tls-cert: it calls the door 127.0.0.1, which no certificate is for")
	case c.DrainTimeout <= 0:
		return errors.New("--drain-timeout: must be positive")
	case c.DemoRate < 0 || c.Demo && !demo.ValidRate(c.DemoRate):
		return fmt.Errorf("--demo-rate %g: want %g to %d events a second", c.DemoRate, demo.MinRate, demo.MaxRate)
	case c.Durability != string(eventdb.DurabilityProcess) && c.Durability != string(eventdb.DurabilityPower):
		return fmt.Errorf("--durability %q: want process or power", c.Durability)
	}
	if err := bus.ValidSource(c.Source); err != nil {
		return fmt.Errorf("--source: %w", err)
	}
	return nil
}

func (c *Config) power() bool { return c.Durability == string(eventdb.DurabilityPower) }

func (c *Config) demoSeed() uint64 {
	if c.DemoSeed != 0 {
		return c.DemoSeed
	}
	return rand.Uint64()
}
