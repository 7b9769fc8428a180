package localdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// envBinary makes the test binary act as `clickhouse server --config-file=F`: the same configuration, the same
// signals, the real engine. So the way with a clickhouse binary is tested where only libchdb is at hand.
const envBinary = "LOCALDB_TEST_BINARY"

func actAsBinary(library string, args []string) error {
	if len(args) != 2 || args[0] != "server" || !strings.HasPrefix(args[1], "--config-file=") {
		return fmt.Errorf("called as %q", args)
	}
	config := strings.TrimPrefix(args[1], "--config-file=")
	dir := filepath.Dir(config)
	if signal.Ignored(syscall.SIGTERM) {
		signal.Reset(syscall.SIGTERM) // as ClickHouse does: it sets its own handlers
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	// libchdb needs a user `default` for its own session, which a server does not.
	for name, change := range map[string]func(string) string{
		"users.xml": func(s string) string {
			return strings.Replace(s, "<users>", "<users><default><password/><networks><ip>127.0.0.1</ip></networks>"+
				"<profile>launcher</profile><quota>default</quota><access_management>1</access_management></default>", 1)
		},
		"config.xml": func(s string) string { return strings.ReplaceAll(s, "users.xml", "binary.users.xml") },
	} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "binary."+name), []byte(change(string(text))), 0o600); err != nil {
			return err
		}
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	go func() {
		<-term
		_ = w.Close()
	}()
	runtime.LockOSThread()
	err = hostLibrary(library, []string{
		"--config-file=" + filepath.Join(dir, "binary.config.xml"), "--path=" + filepath.Join(dir, "data"),
		"--listen-host", "127.0.0.1", "--log-level=warning",
		"--query", fmt.Sprintf("SYSTEM START LISTEN TCP; SYSTEM START LISTEN HTTP; "+
			"SELECT count() FROM file('/dev/fd/%d', 'LineAsString', 'l String') FORMAT Null", r.Fd()),
	})
	runtime.KeepAlive(r)
	return err
}

func binaryConfig(t *testing.T) Config {
	t.Helper()
	eng, err := FindEngine(t.Context(), "")
	if err != nil || !eng.Library {
		t.Fatalf("these tests need a libchdb.so: %v, %v", eng, err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(t)
	cfg.Engine = script(t, filepath.Join(t.TempDir(), "clickhouse"), "#!/bin/sh\n"+envBinary+"='"+eng.Path+"' exec "+self+" \"$@\"\n")
	return cfg
}

func TestBinaryLife(t *testing.T) {
	cfg := binaryConfig(t)
	s := start(t, cfg)
	if s.Pid() == s.cmd.Process.Pid {
		t.Fatal("the process id is the keeper's, not ClickHouse's")
	}
	makeTable(t, s, cfg.Passwords)
	_, err := Start(t.Context(), cfg)
	if !errors.Is(err, ErrInUse) {
		t.Fatalf("second start: %v, want ErrInUse", err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Fatalf("stop: %v", err)
	}

	s = start(t, cfg)
	wantRows(t, s, cfg.Passwords)
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := s.Err(); !errors.Is(err, ErrExited) {
		t.Fatalf("error is %v, want ErrExited", err)
	}
	s = start(t, cfg)
	wantRows(t, s, cfg.Passwords)

	// The keeper killed: ClickHouse is told to end, and the directory is free again.
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	if runtime.GOOS != "linux" {
		_ = syscall.Kill(s.Pid(), syscall.SIGTERM) // no death signal there
	}
	cfg.lockPatience = 0
	wantRows(t, start(t, cfg), cfg.Passwords)
}

func TestBinaryThatCannotStart(t *testing.T) {
	cfg := testConfig(t)
	cfg.Engine = script(t, filepath.Join(t.TempDir(), "clickhouse"), "#!/bin/sh\necho out of luck >&2\nexit 70\n")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err := Start(ctx, cfg)
	if !errors.Is(err, ErrExited) || !strings.Contains(err.Error(), "out of luck") {
		t.Fatalf("start: %v, want ErrExited with what it said", err)
	}
}
