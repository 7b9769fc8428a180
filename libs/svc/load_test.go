package svc

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// probeFlags are one flag of each kind that services register.
type probeFlags struct {
	natsURL  string
	token    Secret
	maxRows  int
	maxAge   time.Duration
	fast     bool
	sources  string
	fraction float64
}

func (p *probeFlags) register(fs *flag.FlagSet) {
	fs.StringVar(&p.natsURL, "nats-url", "nats://127.0.0.1:4222", "`URL` of NATS, several separated by commas")
	fs.Var(&p.token, "nats-token", "`token` for NATS")
	fs.IntVar(&p.maxRows, "max-rows", 1000, "rows of a block")
	fs.DurationVar(&p.maxAge, "max-age", time.Second, "age of a block")
	fs.BoolVar(&p.fast, "fast", false, "prefer speed")
	fs.StringVar(&p.sources, "sources", "", "names separated by commas\nempty: all")
	fs.Float64Var(&p.fraction, "fraction", 0.5, "part that is kept")
}

func probeSet() (*flag.FlagSet, *probeFlags) {
	fs := flag.NewFlagSet("probe", flag.ContinueOnError)
	p := &probeFlags{}
	p.register(fs)
	return fs, p
}

func envOf(vars map[string]string) LoadOptions {
	return LoadOptions{
		Env:      func(name string) (string, bool) { v, ok := vars[name]; return v, ok },
		EnvNames: sortedKeys(vars),
	}
}

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "written")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadPrecedence(t *testing.T) {
	defaults := probeFlags{natsURL: "nats://127.0.0.1:4222", maxRows: 1000, maxAge: time.Second, fraction: 0.5}
	with := func(change func(*probeFlags)) probeFlags { p := defaults; change(&p); return p }
	check := func(name string, args []string, env map[string]string, file string, want probeFlags) {
		t.Helper()
		fs, got := probeSet()
		opts := envOf(env)
		opts.Args = args
		if file != "" {
			opts.Args = append([]string{"--config", write(t, file)}, args...)
		}
		if err := Load(fs, opts); err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		if *got != want {
			t.Errorf("%s:\n got %#v\nwant %#v", name, *got, want)
		}
	}
	check("nothing set", nil, nil, "", defaults)
	check("file over default", nil, nil, "max-rows: 5\nfast: true\nmax-age: 3s\nfraction: 0.25\n",
		with(func(p *probeFlags) { p.maxRows, p.fast, p.maxAge, p.fraction = 5, true, 3*time.Second, 0.25 }))
	check("environment over file", nil, map[string]string{"MILLRACE_MAX_ROWS": "6"}, "max-rows: 5\n",
		with(func(p *probeFlags) { p.maxRows = 6 }))
	check("command line over environment and file", []string{"-max-rows=7"}, map[string]string{"MILLRACE_MAX_ROWS": "6"}, "max-rows: 5\n",
		with(func(p *probeFlags) { p.maxRows = 7 }))
	check("the default given on the command line still wins", []string{"-max-rows=1000"}, map[string]string{"MILLRACE_MAX_ROWS": "6"}, "",
		defaults)
	check("alias", nil, map[string]string{"NATS_URL": "nats://b"}, "nats-url: nats://c",
		with(func(p *probeFlags) { p.natsURL = "nats://b" }))
	check("own name over alias", nil, map[string]string{"NATS_URL": "nats://b", "MILLRACE_NATS_URL": "nats://a"}, "",
		with(func(p *probeFlags) { p.natsURL = "nats://a" }))
	check("empty variable is not set", nil, map[string]string{"NATS_URL": "", "MILLRACE_MAX_ROWS": ""}, "max-rows: 5",
		with(func(p *probeFlags) { p.maxRows = 5 }))
	check("secret from a file", nil, map[string]string{"MILLRACE_NATS_TOKEN_FILE": write(t, " s3cret \r\n")}, "",
		with(func(p *probeFlags) { p.token = " s3cret " }))
	check("alias from a file", nil, map[string]string{"NATS_TOKEN_FILE": write(t, "s3cret")}, "",
		with(func(p *probeFlags) { p.token = "s3cret" }))
	check("list in the file", nil, nil, "sources: [web, app]\n",
		with(func(p *probeFlags) { p.sources = "web,app" }))
	check("number and switch as text", nil, nil, "sources: 017\nmax-rows: \"5\"\n",
		with(func(p *probeFlags) { p.sources, p.maxRows = "017", 5 }))
	check("comments only", nil, nil, "# nothing yet\n", defaults)
	check("config file named by the environment", nil, map[string]string{"MILLRACE_CONFIG": write(t, "max-rows: 9")}, "",
		with(func(p *probeFlags) { p.maxRows = 9 }))
	check("variables of others", nil, map[string]string{
		"MILLRACE_CLICKHOUSE": "/opt/clickhouse", "MILLRACE_WRITE_KEYS": "web:k", "MILLRACE_WRITE_KEY_FILE": "/run/k",
		"MILLRACE_VERSION": "1.2.3", "MILLRACES": "no prefix", "HOME": "/root",
	}, "", defaults)
	check("service links of Kubernetes", nil, map[string]string{
		"MILLRACE_INGESTER_SERVICE_HOST": "10.0.0.7", "MILLRACE_INGESTER_SERVICE_PORT": "8080",
		"MILLRACE_INGESTER_SERVICE_PORT_HTTP": "8080", "MILLRACE_INGESTER_PORT": "tcp://10.0.0.7:8080",
		"MILLRACE_INGESTER_PORT_8080_TCP": "tcp://10.0.0.7:8080", "MILLRACE_INGESTER_PORT_8080_TCP_ADDR": "10.0.0.7",
	}, "", defaults)
}

func TestLoadRefuses(t *testing.T) {
	check := func(name string, args []string, env map[string]string, file, want string, is error) {
		t.Helper()
		fs, _ := probeSet()
		opts := envOf(env)
		opts.Args = args
		if file != "" {
			opts.Args = append([]string{"--config", write(t, file)}, args...)
		}
		err := Load(fs, opts)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want %q in it", name, err, want)
		}
		if is != nil && !errors.Is(err, is) {
			t.Errorf("%s: error %v is not %v", name, err, is)
		}
	}
	check("unknown flag", []string{"--max-row=3"}, nil, "", "flag --max-row; did you mean --max-rows?", ErrUnknownKey)
	check("unknown flag near nothing", []string{"--zzzzzz"}, nil, "", "--zzzzzz; -help lists all", ErrUnknownKey)
	check("bad value", []string{"--max-rows=many"}, nil, "", "max-rows", nil)
	check("unknown variable", nil, map[string]string{"MILLRACE_MAXROWS": "3"}, "", "MILLRACE_MAXROWS; did you mean MILLRACE_MAX_ROWS?", ErrUnknownKey)
	check("a question is no setting", nil, map[string]string{"MILLRACE_PRINT_CONFIG": "true"}, "", "MILLRACE_PRINT_CONFIG", ErrUnknownKey)
	check("bad variable", nil, map[string]string{"MILLRACE_MAX_ROWS": "many"}, "", "environment: MILLRACE_MAX_ROWS: ", nil)
	check("value and file", nil, map[string]string{"NATS_TOKEN": "a", "NATS_TOKEN_FILE": "/b"}, "", "NATS_TOKEN and NATS_TOKEN_FILE are both set", nil)
	check("variable's file is missing", nil, map[string]string{"NATS_TOKEN_FILE": "/does/not/exist"}, "", "NATS_TOKEN_FILE", os.ErrNotExist)
	check("missing file", []string{"--config=/does/not/exist"}, nil, "", "configuration file", os.ErrNotExist)
	check("unknown key", nil, nil, "max-rows: 1\nnats_url: x\n", "line 2: unknown setting: nats_url; did you mean nats-url?", ErrUnknownKey)
	check("unknown key although set above", []string{"--max-rows=1"}, nil, "maxrows: 1", "did you mean max-rows?", ErrUnknownKey)
	check("key twice", nil, nil, "max-rows: 1\nmax-rows: 2\n", "max-rows", nil)
	check("nested", nil, nil, "nats-url:\n  host: x\n", "nested", nil)
	check("no value", nil, nil, "nats-url:\n", "has no value", nil)
	check("list in a list", nil, nil, "sources: [[a]]\n", "item 1", nil)
	check("comma in a list", nil, nil, "sources: [a, \"b,c\"]\n", "item 2", nil)
	check("bad value in the file", nil, nil, "max-rows: many\n", "line 1: max-rows", nil)
	check("no mapping", nil, nil, "- a\n", "flag-name: value", nil)
	check("no YAML", nil, nil, "a: [", "configuration file", nil)
	check("file in the file", nil, nil, "config: x\n", "cannot be set in the file", nil)
	check("redaction as a secret", nil, map[string]string{"NATS_TOKEN": redacted}, "", "not the secret", nil)
}

func TestLoadKeepsArguments(t *testing.T) {
	fs, _ := probeSet()
	if err := Load(fs, LoadOptions{Args: []string{"--fast", "a.log", "b.log"}}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(fs.Args(), " "); got != "a.log b.log" {
		t.Errorf("arguments left over: %q", got)
	}
}

func TestNearest(t *testing.T) {
	check := func(name, want string) {
		t.Helper()
		got := nearest(name, []string{"nats-url", "max-rows", "fast"}, "")
		if got != want {
			t.Errorf("nearest(%q) = %q, want %q", name, got, want)
		}
	}
	check("nats-uri", "; did you mean nats-url?")
	check("fsat", "; did you mean fast?")
	check("", "; -help lists all")
	check("something-else", "; -help lists all")
}
