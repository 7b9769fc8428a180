package localdb

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func script(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFindEngine(t *testing.T) {
	root := t.TempDir()
	npm := script(t, filepath.Join(root, ".engine", "node_modules", "@chdb", "lib-"+platform(), "libchdb.so"), "")
	deep := filepath.Join(root, "services", "indexer")
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	fresh := script(t, filepath.Join(root, "fresh", "clickhouse"), "#!/bin/sh\necho 'ClickHouse local version 26.7.2.1 (official build).'\n")
	stale := script(t, filepath.Join(root, "stale", "clickhouse"), "#!/bin/sh\necho 'ClickHouse local version 24.8.1.1 (official build).'\n")
	mute := script(t, filepath.Join(root, "mute", "clickhouse"), "#!/bin/sh\nexit 1\n")
	lib := script(t, filepath.Join(root, "elsewhere", "libchdb.so"), "")
	nowhere := t.TempDir()

	for _, tc := range []struct {
		name, explicit, env, path, wd string
		want                          Engine
		wantErr                       string
	}{
		{name: "explicit wins", explicit: fresh, env: lib, wd: deep, want: Engine{fresh, false}},
		{name: "environment names a library", env: lib, path: fresh, wd: deep, want: Engine{lib, true}},
		{name: "environment names a binary", env: stale, wd: deep, want: Engine{stale, false}},
		{name: "environment names nothing", env: filepath.Join(root, "gone"), wd: deep, wantErr: "which is not a file"},
		{name: "environment names a folder", env: root, wd: deep, wantErr: "which is not a file"},
		{name: "PATH, new enough", path: fresh, wd: deep, want: Engine{fresh, false}},
		{name: "PATH, too old: npm", path: stale, wd: deep, want: Engine{npm, true}},
		{name: "PATH, broken: npm", path: mute, wd: deep, want: Engine{npm, true}},
		{name: "npm above the working directory", wd: deep, want: Engine{npm, true}},
		{name: "none", wd: nowhere, wantErr: "make engine"},
		{name: "none, old one named", path: stale, wd: nowhere, wantErr: "older than 26"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Setenv(EnvEngine, tc.env)
			t.Setenv("PATH", "/usr/bin:/bin")
			if tc.path != "" {
				t.Setenv("PATH", filepath.Dir(tc.path)+":/usr/bin:/bin")
			}
			t.Chdir(tc.wd)
			got, err := FindEngine(t.Context(), tc.explicit)
			if tc.wantErr != "" {
				if !errors.Is(err, ErrNoEngine) || !strings.Contains(err.Error(), tc.wantErr) {
					t.Fatalf("error is %v, want ErrNoEngine with %q", err, tc.wantErr)
				}
				return
			}
			if err != nil || got != tc.want {
				t.Fatalf("got %v, %v; want %v", got, err, tc.want)
			}
		})
	}
}

func TestConfigValidate(t *testing.T) {
	good := testConfig(t)
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Config){
		"directory":    func(c *Config) { c.Dir = "" },
		"logger":       func(c *Config) { c.Log = nil },
		"IP address":   func(c *Config) { c.ListenHost = "example.org" },
		"65535":        func(c *Config) { c.TCPPort = 70000 },
		"share port":   func(c *Config) { c.HTTPPort, c.TCPPort = 9000, 9000 },
		"negative":     func(c *Config) { c.MemoryLimit = -1 },
		ReaderUser:     func(c *Config) { c.Passwords.Reader = "" },
		MigratorUser:   func(c *Config) { c.Passwords.Migrator = "" },
		"millrace_wri": func(c *Config) { c.Passwords.Writer = "" },
	} {
		cfg := good
		spoil(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("error is %v, want one with %q", err, name)
		}
	}
}
