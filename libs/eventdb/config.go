package eventdb

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// DefaultURL is a ClickHouse on this machine with its usual native port.
const DefaultURL = "clickhouse://127.0.0.1:9000/millrace"

// DefaultDatabase is used when the URL names none.
const DefaultDatabase = "millrace"

// Config says where ClickHouse is and who we are there.
type Config struct {
	// URL is clickhouse://user:password@host:9000,host2:9000/millrace?secure=true in the native protocol. Parameters are
	// those of clickhouse-go; secure and skip_verify mean TLS, compress=lz4|none overrides the choice by distance.
	URL string
	// User and Password override those in the URL when they are set.
	User     string
	Password string
}

// secret is a flag.Value that is not printed.
type secret string

func (s *secret) Set(v string) error { *s = secret(v); return nil }

func (s *secret) String() string {
	if s == nil || *s == "" {
		return ""
	}
	return "<redacted>"
}

// IsSecret tells libs/svc to redact the flag.
func (s *secret) IsSecret() bool { return *s != "" }

// RegisterFlags declares the flags with their defaults.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.URL, "clickhouse-url", DefaultURL, "ClickHouse `URL` of the native protocol: clickhouse://user:password@host:9000/millrace?secure=true")
	fs.StringVar(&c.User, "clickhouse-user", "", "ClickHouse user `name`, instead of the one in the URL")
	fs.Var((*secret)(&c.Password), "clickhouse-password", "ClickHouse `password`, instead of the one in the URL (better: MILLRACE_CLICKHOUSE_PASSWORD_FILE)")
}

// Validate checks what can be checked without a connection.
func (c *Config) Validate() error {
	_, err := c.options()
	return err
}

// Database is the database of the URL.
func (c *Config) Database() (string, error) {
	o, err := c.options()
	if err != nil {
		return "", err
	}
	return o.Auth.Database, nil
}

func (c *Config) options() (*clickhouse.Options, error) {
	raw := c.URL
	if raw == "" {
		raw = DefaultURL
	}
	u, err := url.Parse(raw)
	if err != nil {
		// The parser's own text repeats the URL with its password.
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err
		}
		return nil, fmt.Errorf("%w: %w", ErrURL, err)
	}
	switch u.Scheme {
	case "clickhouse", "tcp", "native":
	case "http", "https":
		return nil, fmt.Errorf("%w: %s:// is not the native protocol; use clickhouse:// with the native port (9000, TLS 9440)", ErrURL, u.Scheme)
	default:
		return nil, fmt.Errorf("%w: scheme %q is unknown, use clickhouse://host:9000/millrace", ErrURL, u.Scheme)
	}
	if u.Host == "" {
		return nil, fmt.Errorf("%w: it names no host", ErrURL)
	}
	hosts := strings.Split(u.Host, ",")
	for i, h := range hosts {
		hosts[i] = withPort(h, u.Query().Get("secure") == "true")
	}
	u.Scheme, u.Host = "clickhouse", strings.Join(hosts, ",")
	o, err := clickhouse.ParseDSN(u.String())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrURL, err)
	}
	if o.Auth.Database == "" || o.Auth.Database == "default" && strings.Trim(u.Path, "/") == "" {
		o.Auth.Database = DefaultDatabase
	}
	if c.User != "" {
		o.Auth.Username = c.User
	}
	if c.Password != "" {
		o.Auth.Password = c.Password
	}
	if o.Compression == nil || u.Query().Get("compress") == "" {
		// On one machine, compressing costs more than it saves: 0.6 CPU-seconds per million events (insert of 25 columns).
		o.Compression = &clickhouse.Compression{Method: clickhouse.CompressionLZ4}
		if allLoopback(hosts) {
			o.Compression.Method = clickhouse.CompressionNone
		}
	}
	return o, nil
}

func withPort(host string, secure bool) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	port := "9000"
	if secure {
		port = "9440"
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), port)
}

func allLoopback(hosts []string) bool {
	return !slices.ContainsFunc(hosts, func(h string) bool {
		name, _, err := net.SplitHostPort(h)
		if err != nil {
			return true
		}
		ip := net.ParseIP(name)
		return name != "localhost" && (ip == nil || !ip.IsLoopback())
	})
}
