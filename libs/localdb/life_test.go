package localdb

import (
	"bufio"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestStopAndStartAgainKeepsRows(t *testing.T) {
	cfg := testConfig(t)
	s := start(t, cfg)
	makeTable(t, s, cfg.Passwords)
	if err := s.Stop(t.Context()); err != nil {
		t.Fatalf("stop: %v", err)
	}
	if err := s.Err(); err != nil {
		t.Fatalf("a server that was stopped reports %v", err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Fatalf("second stop: %v", err)
	}
	// Other passwords: they are written anew at every start.
	cfg.Passwords = NewPasswords()
	wantRows(t, start(t, cfg), cfg.Passwords)
}

func TestKillIsNoticedAndKeepsRows(t *testing.T) {
	cfg := testConfig(t)
	s := start(t, cfg)
	makeTable(t, s, cfg.Passwords)
	if err := syscall.Kill(s.Pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the death of the child was not noticed")
	}
	if err := s.Err(); !errors.Is(err, ErrExited) || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("error is %v, want ErrExited by a kill", err)
	}
	if err := s.Kill(); err != nil {
		t.Fatalf("kill of a dead server: %v", err)
	}
	if err := s.Stop(t.Context()); !errors.Is(err, ErrExited) {
		t.Fatalf("stop of a dead server: %v, want ErrExited", err)
	}
	wantRows(t, start(t, cfg), cfg.Passwords)
}

func TestPoliteSignalsAreIgnored(t *testing.T) {
	cfg := testConfig(t)
	s := start(t, cfg)
	makeTable(t, s, cfg.Passwords)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if err := syscall.Kill(s.Pid(), sig); err != nil {
			t.Fatal(err)
		}
	}
	// The rows are asked for over many milliseconds, so that a shutdown that had begun would show.
	for range 50 {
		wantRows(t, s, cfg.Passwords)
	}
}

func TestParentKilledEndsChildCleanly(t *testing.T) {
	cfg := testConfig(t)
	logger := cfg.Log
	cfg.Log = nil // not part of what the parent is told
	raw, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), envParent+"="+string(raw))
	parent.Stderr = t.Output()
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatalf("the parent did not report: %v", err)
	}
	var report parentReport
	if err := json.Unmarshal(line, &report); err != nil {
		t.Fatal(err)
	}
	p := cfg.Passwords
	remote := &Server{addrs: report.Addrs}
	makeTable(t, remote, p)
	// An idle connection of somebody else does not hold the end back.
	conn, err := net.Dial("tcp", report.Addrs.Native)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()

	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // killed, as asked
	// No patience but the product's own: the next start comes at once.
	cfg.lockPatience, cfg.Log = 0, logger
	wantRows(t, start(t, cfg), p)
	if err := syscall.Kill(report.Pid, 0); !errors.Is(err, syscall.ESRCH) && !isZombie(report.Pid) {
		t.Fatalf("the child of the killed parent is still there: %v", err)
	}
	if text, err := os.ReadFile(layoutOf(cfg.Dir).errLog); err == nil && strings.Contains(string(text), "<Fatal>") {
		t.Fatalf("the end was not clean: %s", text)
	}
}

// isZombie says that a process has ended and only waits for an init that does not collect (as in containers).
func isZombie(pid int) bool {
	out, err := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && strings.HasPrefix(strings.TrimSpace(string(out)), "Z")
}

func TestStopWithQueryRunning(t *testing.T) {
	cfg := testConfig(t)
	s := start(t, cfg)
	makeTable(t, s, cfg.Passwords)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = ask(t, s.Addrs(), WriterUser, cfg.Passwords.Writer, "SELECT sleepEachRow(1) FROM numbers(60) SETTINGS max_block_size = 1, function_sleep_max_microseconds_per_block = 0")
	}()
	eventually(t, func() bool {
		got, err := ask(t, s.Addrs(), WriterUser, cfg.Passwords.Writer, "SELECT value FROM system.metrics WHERE metric = 'Query'")
		return err != nil || got > "2" || len(got) > 1 || got == "2"
	})
	began := time.Now()
	if err := s.Stop(t.Context()); err != nil {
		t.Fatalf("stop: %v", err)
	}
	t.Logf("stopped after %s", time.Since(began))
	<-ended
	wantRows(t, start(t, cfg), cfg.Passwords)
}

func TestSecondStartSaysInUse(t *testing.T) {
	cfg := testConfig(t)
	s := start(t, cfg)
	_, err := Start(t.Context(), cfg)
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), cfg.Dir) {
		t.Fatalf("second start: %v, want ErrInUse with the directory", err)
	}
	makeTable(t, s, cfg.Passwords) // the first one is unharmed
	wantRows(t, s, cfg.Passwords)
}

func TestTakenPortIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	port := l.Addr().(*net.TCPAddr).Port
	for _, name := range []string{"http", "native"} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(t)
			if name == "http" {
				cfg.HTTPPort = port
			} else {
				cfg.TCPPort = port
			}
			_, err := Start(t.Context(), cfg)
			if !errors.Is(err, ErrPortTaken) || !strings.Contains(err.Error(), strconv.Itoa(port)) {
				t.Fatalf("start: %v, want ErrPortTaken with %d", err, port)
			}
		})
	}
}

func TestPortsAreKept(t *testing.T) {
	cfg := testConfig(t)
	first := start(t, cfg)
	cfg.HTTPPort, cfg.TCPPort = first.Ports()
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	if second := start(t, cfg); second.Addrs() != first.Addrs() {
		t.Fatalf("addresses are %v, want %v", second.Addrs(), first.Addrs())
	}
}
