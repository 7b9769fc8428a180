package query

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/libs/svc"
	"github.com/millrace/millrace/services/query/access"
)

func TestMayListen(t *testing.T) {
	keys := Keys{"0123456789abcdef"}
	for _, tc := range []struct {
		addr string
		keys Keys
		ok   bool
	}{
		{"127.0.0.1:8090", nil, true},
		{"127.0.0.2:0", nil, true},
		{"[::1]:8090", nil, true},
		{"localhost:8090", nil, true},
		{"[::ffff:127.0.0.1]:1", nil, true},
		{":8090", nil, false},
		{"0.0.0.0:8090", nil, false},
		{"[::]:8090", nil, false},
		{"10.0.0.1:8090", nil, false},
		{"localhost.example.org:8090", nil, false},
		{"0.0.0.0:8090", keys, true},
		{":8090", keys, true},
		{"8090", keys, false},
	} {
		err := mayListen(tc.addr, len(tc.keys) > 0)
		if (err == nil) != tc.ok {
			t.Errorf("%s with %d keys: %v", tc.addr, len(tc.keys), err)
		}
		if err != nil && tc.keys == nil && !strings.Contains(err.Error(), "--api-keys") {
			t.Errorf("%s: the error does not say what to do: %v", tc.addr, err)
		}
	}
}

// TestGuard: the answer is the same for every method, since a GET asks too.
func TestGuard(t *testing.T) {
	const key, other = "0123456789abcdef", "fedcba9876543210"
	for _, tc := range []struct {
		name, host string
		keys       Keys
		header     map[string]string
		want       int
	}{
		{"loopback", "127.0.0.1:8090", nil, nil, 0},
		{"by name", "localhost:8090", nil, nil, 0},
		{"by name without port", "LOCALHOST", nil, nil, 0},
		{"IPv6", "[::1]:8090", nil, nil, 0},
		{"IPv6 without port", "[::1]", nil, nil, 0},
		{"rebound name", "evil.example:8090", nil, nil, 403},
		{"name that looks local", "127.0.0.1.evil.example", nil, nil, 403},
		{"no host", "", nil, nil, 403},
		{"page of the same origin", "localhost:8090", nil, map[string]string{"Origin": "http://localhost:8090"}, 0},
		{"page of another origin", "localhost:8090", nil, map[string]string{"Origin": "http://evil.example"}, 403},
		{"page of another port", "localhost:8090", nil, map[string]string{"Origin": "http://localhost:9999"}, 403},
		{"cross-site by the browser's word", "localhost:8090", nil, map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		{"another port by the browser's word", "localhost:8090", nil, map[string]string{"Sec-Fetch-Site": "same-site"}, 403},
		{"same origin by the browser's word", "localhost:8090", nil, map[string]string{"Sec-Fetch-Site": "same-origin"}, 0},
		{"typed into the browser", "localhost:8090", nil, map[string]string{"Sec-Fetch-Site": "none"}, 0},
		{"page of nobody", "localhost:8090", nil, map[string]string{"Origin": "null"}, 403},
		{"wrong key on loopback", "127.0.0.1:8090", nil, map[string]string{"Authorization": "Bearer " + key}, 401},
		{"empty key on loopback", "127.0.0.1:8090", nil, map[string]string{"Authorization": "Bearer "}, 401},
		{"wrong write key on loopback", "localhost:8090", nil, map[string]string{"X-Write-Key": "wrong"}, 401},
		{"wrong write key as user on loopback", "[::1]:8090", nil, map[string]string{"Authorization": "Basic d3Jvbmc6"}, 401},
		{"key, from a page of another site", "example.org", Keys{key}, map[string]string{
			"Authorization": "Bearer " + key, "Sec-Fetch-Site": "cross-site", "Origin": "https://tool.example",
		}, 0},
		{"key", "example.org", Keys{other, key}, map[string]string{"Authorization": "Bearer " + key}, 0},
		{"key, other spelling", "example.org", Keys{key}, map[string]string{"Authorization": "bearer  " + key}, 0},
		{"no key", "127.0.0.1", Keys{key}, nil, 401},
		{"wrong key", "example.org", Keys{key}, map[string]string{"Authorization": "Bearer " + other}, 401},
		{"part of the key", "example.org", Keys{key}, map[string]string{"Authorization": "Bearer 0123456789"}, 401},
		{"empty key", "example.org", Keys{key}, map[string]string{"Authorization": "Bearer "}, 401},
		{"basic", "example.org", Keys{key}, map[string]string{"Authorization": "Basic " + key}, 401},
	} {
		ring, err := access.New(access.Config{APIKeys: tc.keys})
		if err != nil {
			t.Fatal(err)
		}
		for _, method := range []string{http.MethodPost, http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodDelete} {
			req := httptest.NewRequest(method, "http://x/v1/sql", nil)
			req.Host = tc.host
			for k, v := range tc.header {
				req.Header.Set(k, v)
			}
			got := 0
			key, p := newGuard(ring).admit(req)
			if p != nil {
				got = p.Status
			}
			if (key == nil) != (p != nil) {
				t.Errorf("%s: key %v, problem %v", tc.name, key, p)
			}
			if got != tc.want || req.Method != method {
				t.Errorf("%s, %s: %d, want %d", tc.name, method, got, tc.want)
			}
		}
	}
}

func TestKeys(t *testing.T) {
	var k Keys
	if err := k.Set(" 0123456789abcdef, fedcba9876543210 ,"); err != nil || len(k) != 2 || k[1] != "fedcba9876543210" {
		t.Errorf("two keys: %q, %v", []string(k), err)
	}
	if k.String() != "<redacted>" || !k.IsSecret() {
		t.Errorf("keys print as %q", k.String())
	}
	if err := k.Set("short"); err == nil || strings.Contains(err.Error(), "short") {
		t.Errorf("a short key: %v", err)
	}
}

func TestConfigRefusals(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no log":             func(c *Config) { c.Log = nil },
		"no registry":        func(c *Config) { c.Reg = nil },
		"no health":          func(c *Config) { c.Health = nil },
		"network":            func(c *Config) { c.Addr = "0.0.0.0:0" },
		"native URL":         func(c *Config) { c.ClickHouse.URL = "clickhouse://127.0.0.1:9000" },
		"no host":            func(c *Config) { c.ClickHouse.URL = "127.0.0.1:8123" },
		"password in URL":    func(c *Config) { c.ClickHouse.URL = "http://a:secret@127.0.0.1:8123" },
		"negative time":      func(c *Config) { c.MaxTime = -1 },
		"negative number":    func(c *Config) { c.MaxConcurrent = -1 },
		"bad prefix":         func(c *Config) { c.Bus.Prefix = "a.b" },
		"address that is no": func(c *Config) { c.Addr = "127.0.0.1" },
	} {
		cfg := Config{Log: slog.New(slog.DiscardHandler), Reg: prometheus.NewRegistry(), Health: svc.NewHealth()}
		cfg.Defaults()
		if err := cfg.Validate(); err != nil {
			t.Fatalf("defaults: %v", err)
		}
		change(&cfg)
		err := cfg.Validate()
		if err == nil {
			t.Errorf("%s: taken", name)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error shows a secret: %v", name, err)
		}
	}
}
