package svc

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update writes it):\n--- got\n%s--- want\n%s", path, got, want)
	}
}

func TestPrintConfig(t *testing.T) {
	fs, _ := probeSet()
	opts := envOf(map[string]string{
		"NATS_URL":   "nats://me:hunter2@a:4222,nats://t0ken@b:4222",
		"NATS_TOKEN": "hunter2",
	})
	opts.Args = []string{"--print-config", "--sources=true", "--max-rows=7"}
	if err := Load(fs, opts); !errors.Is(err, ErrPrintConfig) {
		t.Fatalf("Load: %v, want ErrPrintConfig", err)
	}
	var b strings.Builder
	if err := WriteConfig(&b, fs); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "hunter2") || strings.Contains(b.String(), "t0ken") {
		t.Errorf("a secret is in the output:\n%s", b.String())
	}
	golden(t, "print-config.yaml", b.String())
}

// What is printed can be read again: the way to freeze a configuration.
func TestPrintConfigReadsBack(t *testing.T) {
	fs, want := probeSet()
	if err := Load(fs, LoadOptions{Args: []string{"--sources=null", "--max-rows=7", "--fast", "--max-age=1m30s", "--fraction=1e-9"}}); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := WriteConfig(&b, fs); err != nil {
		t.Fatal(err)
	}
	again, got := probeSet()
	if err := Load(again, LoadOptions{Args: []string{"--config", write(t, b.String())}}); err != nil {
		t.Fatalf("%v in\n%s", err, b.String())
	}
	if *got != *want {
		t.Errorf("read back:\n got %#v\nwant %#v\nfrom\n%s", *got, *want, b.String())
	}
}

func TestSecretIsNeverPrinted(t *testing.T) {
	cfg := struct{ Token Secret }{"hunter2"}
	var log strings.Builder
	for _, format := range []string{"json", "text"} {
		l, err := NewLogger(&log, format, "info")
		if err != nil {
			t.Fatal(err)
		}
		l.Info("config", "token", cfg.Token, slog.Any("cfg", cfg))
	}
	asJSON, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	all := fmt.Sprintf("%v %+v %#v %s %q %s\n%s", cfg, cfg, cfg, cfg.Token, cfg.Token, asJSON, log.String())
	if strings.Contains(all, "hunter2") {
		t.Errorf("the secret is in:\n%s", all)
	}
	if got := cfg.Token.Reveal(); got != "hunter2" {
		t.Errorf("Reveal() = %q", got)
	}
}

func TestRedactURLs(t *testing.T) {
	check := func(in, want string) {
		t.Helper()
		if got := redactURLs(in); got != want {
			t.Errorf("redactURLs(%q) = %q, want %q", in, got, want)
		}
	}
	check("127.0.0.1:8080", "127.0.0.1:8080")
	check("nats://a:4222,nats://b:4222", "nats://a:4222,nats://b:4222")
	check("nats://u:p@a:4222", "nats://u:redacted@a:4222")
	check("nats://tok@a:4222", "nats://redacted@a:4222")
	check("clickhouse://h:9000/db?username=u&password=p", "clickhouse://h:9000/db?password=redacted&username=u")
	check("nats://u:%zz@a", "<redacted>")
}

func TestLogger(t *testing.T) {
	check := func(format, level, wantErr string) {
		t.Helper()
		_, err := NewLogger(&strings.Builder{}, format, level)
		if (err == nil) != (wantErr == "") || err != nil && !strings.Contains(err.Error(), wantErr) {
			t.Errorf("NewLogger(%q, %q): error %v, want %q", format, level, err, wantErr)
		}
	}
	check("json", "info", "")
	check("text", "WARN", "")
	check("xml", "info", "want json or text")
	check("json", "loud", "want debug, info, warn or error")

	var b strings.Builder
	log, err := NewLogger(&b, "json", "warn")
	if err != nil {
		t.Fatal(err)
	}
	log.Info("left out")
	log.Warn("kept", "n", 1)
	var line map[string]any
	if err := json.Unmarshal([]byte(b.String()), &line); err != nil {
		t.Fatalf("%v in %q", err, b.String())
	}
	if line["msg"] != "kept" || line["level"] != "WARN" || !strings.HasSuffix(line["time"].(string), "Z") {
		t.Errorf("got line %v", line)
	}
}
