package svc

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Env is what the process gives to a service.
type Env struct {
	Log     *slog.Logger
	Reg     prometheus.Registerer
	Health  *Health // names its checks after the service
	Version string
}

// Build registers a service's flags and returns what makes the service once
// the flags are filled. The returned function validates and may fail fast.
type Build func(fs *flag.FlagSet) func(Env) (Service, error)

// Config is what every process can be told, whatever it runs.
type Config struct {
	AdminAddr    string
	LogFormat    string
	LogLevel     string
	DrainDelay   time.Duration
	DrainTimeout time.Duration
}

// RegisterFlags registers the flags of c. A value that c already holds is the
// default; AdminAddr has 127.0.0.1:8081.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	if c.AdminAddr == "" {
		c.AdminAddr = "127.0.0.1:8081"
	}
	fs.StringVar(&c.AdminAddr, "admin-addr", c.AdminAddr, "`address` for /livez, /readyz, /metrics and /debug/pprof")
	fs.StringVar(&c.LogFormat, "log-format", "json", "log lines as json or text, on standard error")
	fs.StringVar(&c.LogLevel, "log-level", "info", "least `level` that is logged: debug, info, warn or error")
	fs.DurationVar(&c.DrainDelay, "drain-delay", 0, "`time` to go on taking work after /readyz says no")
	// Kubernetes kills 30 s after it asked.
	fs.DurationVar(&c.DrainTimeout, "drain-timeout", 25*time.Second, "longest `time` to finish accepted work when stopping; 0: no limit")
}

// Validate checks what the flags themselves do not.
func (c *Config) Validate() error {
	if c.AdminAddr == "" {
		return errors.New("admin-addr: must not be empty")
	}
	if c.DrainDelay < 0 || c.DrainTimeout < 0 {
		return errors.New("drain-delay and drain-timeout: must not be negative")
	}
	_, err := NewLogger(io.Discard, c.LogFormat, c.LogLevel)
	return err
}

// Option changes a default of Main.
type Option func(*Config)

// WithAdminAddr changes the default of --admin-addr, so that the services of
// one machine do not ask for the same port.
func WithAdminAddr(addr string) Option {
	return func(c *Config) { c.AdminAddr = addr }
}

const flagVersion = "version"

// Main is the whole of a service's command: os.Exit(svc.Main("ingester",
// ingester.Command)). It returns 0 after a clean stop and for -help, --version
// and --print-config; 1 when the service failed or did not drain; 2 when the
// configuration cannot be used.
func Main(name string, build Build, opts ...Option) int {
	return command{name: name, build: build, opts: opts}.run(context.Background(), host{
		args:    os.Args[1:],
		env:     os.LookupEnv,
		environ: os.Environ(),
		stdout:  os.Stdout,
		stderr:  os.Stderr,
	})
}

// Help returns what the command prints for -help, for golden files.
func Help(name string, build Build, opts ...Option) string {
	fs, _, _, _ := command{name: name, build: build, opts: opts}.flags()
	var b strings.Builder
	_ = WriteHelp(&b, fs, LoadOptions{}) // a strings.Builder does not fail
	return b.String()
}

type command struct {
	name  string
	build Build
	opts  []Option
}

// host is the part of package os that a command uses.
type host struct {
	args    []string
	env     func(string) (string, bool)
	environ []string
	stdout  io.Writer
	stderr  io.Writer
}

func (c command) flags() (fs *flag.FlagSet, cfg *Config, version *bool, create func(Env) (Service, error)) {
	fs = flag.NewFlagSet(c.name, flag.ContinueOnError)
	cfg = &Config{}
	for _, opt := range c.opts {
		opt(cfg)
	}
	cfg.RegisterFlags(fs)
	version = fs.Bool(flagVersion, false, "print the version and exit")
	return fs, cfg, version, c.build(fs)
}

func (c command) run(ctx context.Context, h host) int {
	fs, cfg, version, create := c.flags()
	load := LoadOptions{Args: h.args, Env: h.env, EnvNames: EnvNames(h.environ)}
	err := Load(fs, load)
	switch {
	case *version:
		fmt.Fprintln(h.stdout, c.name, Version())
		return 0
	case errors.Is(err, flag.ErrHelp):
		return c.printed(h, WriteHelp(h.stdout, fs, load))
	case errors.Is(err, ErrPrintConfig):
		return c.printed(h, WriteConfig(h.stdout, fs))
	case err == nil && fs.NArg() > 0:
		err = fmt.Errorf("argument %q: only flags are taken", fs.Arg(0))
	case err == nil:
		err = cfg.Validate()
	}
	if err != nil {
		return c.refuse(h, err)
	}
	log, err := NewLogger(h.stderr, cfg.LogFormat, cfg.LogLevel)
	if err != nil {
		return c.refuse(h, err)
	}
	log = log.With("service", c.name)
	ctx, stop := Signals(ctx, log)
	defer stop()

	reg, health := NewRegistry(), NewHealth()
	reg.MustRegister(health.Metric())
	service, err := create(Env{Log: log, Reg: reg, Health: health.For(c.name), Version: Version()})
	if err != nil {
		return c.refuse(h, err)
	}
	admin, err := NewAdmin(AdminConfig{Addr: cfg.AdminAddr, Reg: reg, Health: health, Log: log})
	if err != nil {
		return c.refuse(h, err)
	}
	if err := Run(ctx, Process{
		Log:          log,
		Health:       health,
		Admin:        admin,
		Services:     []Named{{Name: c.name, Service: service}},
		DrainDelay:   cfg.DrainDelay,
		DrainTimeout: cfg.DrainTimeout,
	}); err != nil {
		log.Error("stopped with an error", "err", err)
		return 1
	}
	return 0
}

func (c command) printed(h host, err error) int {
	if err != nil {
		fmt.Fprintf(h.stderr, "%s: %v\n", c.name, err)
		return 1
	}
	return 0
}

// refuse ends a command before anything has run.
func (c command) refuse(h host, err error) int {
	fmt.Fprintf(h.stderr, "%s: %v\n", c.name, err)
	return 2
}
