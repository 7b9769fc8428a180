package localdb

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// niceness of the engine: while a report takes all it can get, an event is still answered and made durable at once. With
// nothing else to do the engine has the whole machine all the same.
const niceness = 5

// spawn starts this program again as the host of the engine.
func (s *Server) spawn(eng Engine, cfg Config, p ports, lock *os.File, said *tail) error {
	self := selfPath
	if self == "" {
		var err error
		if self, err = os.Executable(); err != nil {
			return fmt.Errorf("find the running program: %w", err)
		}
	}
	readEnd, writeEnd, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("pipe to the local ClickHouse: %w", err)
	}
	defer func() { _ = readEnd.Close() }()
	pidRead, pidWrite, err := os.Pipe()
	if err != nil {
		_ = writeEnd.Close()
		return fmt.Errorf("pipe from the local ClickHouse: %w", err)
	}
	defer func() { _ = pidRead.Close() }()
	defer func() { _ = pidWrite.Close() }()

	kind, args := childBinary, []string{"server", "--config-file=" + s.layout.config}
	if eng.Library {
		kind = childLibrary
		args = []string{
			"--config-file=" + s.layout.config, "--path=" + s.layout.data,
			"--listen-host", cfg.ListenHost, "--log-level=warning",
			"--query", fmt.Sprintf("CREATE DATABASE IF NOT EXISTS %s; SYSTEM START LISTEN TCP; SYSTEM START LISTEN HTTP; "+
				"SELECT count() FROM file('/dev/fd/%d', 'LineAsString', 'l String') FORMAT Null", Database, fdQuery),
		}
	}
	// In this order: fdQuery, fdWatch, fdLock, fdPid, fdGuard.
	files := []*os.File{readEnd, readEnd, lock, pidWrite}
	env := append(s.environment(), envChild+"="+kind)
	if p.listener != nil {
		f, err := p.listener.File()
		if err != nil {
			_ = writeEnd.Close()
			return fmt.Errorf("hand the native port to the local ClickHouse: %w", err)
		}
		defer func() { _ = f.Close() }()
		setup, err := json.Marshal(guardSetup{
			Engine: net.JoinHostPort(reachable(cfg.ListenHost), strconv.Itoa(p.engine)), Users: cfg.Passwords.hashes(),
		})
		if err != nil {
			_ = writeEnd.Close()
			return fmt.Errorf("describe the users of the local ClickHouse: %w", err)
		}
		files, env = append(files, f), append(env, envGuard+"="+string(setup))
	}
	cmd := &exec.Cmd{
		Path:       self,
		Args:       append([]string{"millrace-clickhouse", eng.Path}, args...),
		Dir:        s.layout.dir,
		Env:        env,
		Stderr:     said,
		ExtraFiles: files,
		// A group of its own: Ctrl-C at the terminal is for the parent.
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
		WaitDelay:   5 * time.Second,
	}
	if err := cmd.Start(); err != nil {
		_ = writeEnd.Close()
		return fmt.Errorf("start the local ClickHouse: %w", err)
	}
	s.cmd, s.engine = cmd, cmd.Process.Pid
	_ = syscall.Setpriority(syscall.PRIO_PGRP, cmd.Process.Pid, niceness) // without it a report takes more from the door
	s.release = sync.OnceFunc(func() { _ = writeEnd.Close() })
	// Ends with the child.
	go func() {
		err := cmd.Wait()
		s.release()
		if !s.asked.Load() {
			s.err = fmt.Errorf("%w: %s; log: %s", ErrExited, ended(err, said.String()), s.layout.log)
		}
		close(s.done)
	}()
	if !eng.Library {
		_ = pidWrite.Close()
		line, err := bufio.NewReader(pidRead).ReadString('\n')
		pid, convErr := strconv.Atoi(strings.TrimSpace(line))
		if err != nil || convErr != nil {
			<-s.done
			return s.explain(said.String())
		}
		s.engine = pid
	}
	return nil
}

// inherited is what a child gets of this process's environment: how programs and libraries are found, and the words of
// people. The rest may hold secrets, such as passwords in settings, and SQL can read a process's environment as a file.
var inherited = []string{"PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ"}

// environment is that of a child. What the engine keeps at home is below its own directory.
func (s *Server) environment() []string {
	// GORACE: under the race detector a Go process sleeps a second before it exits; the engine's end is not Go's.
	env := []string{"HOME=" + s.layout.dir, "GORACE=atexit_sleep_ms=0 " + os.Getenv("GORACE")}
	for _, name := range inherited {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// explain makes the error of a child that ended before it was ready.
func (s *Server) explain(said string) error {
	switch {
	case strings.Contains(said, "Cannot lock file") || strings.Contains(said, "Another server instance in same directory"):
		return fmt.Errorf("%w: %s", ErrInUse, s.layout.dir)
	case strings.Contains(said, "Address already in use") || strings.Contains(said, "NETWORK_ERROR") || strings.Contains(said, "SOCKET"):
		return fmt.Errorf("%w: %s or %s", ErrPortTaken, s.addrs.HTTP, s.addrs.Native)
	}
	return fmt.Errorf("while it started: %w", s.err)
}

func ended(err error, said string) string {
	how := "exit status 0"
	if err != nil {
		how = err.Error()
	}
	if said = strings.TrimSpace(said); said != "" {
		how += ": " + said
	}
	return how
}

// tail keeps the last bytes of what the child says.
type tail struct {
	mu    sync.Mutex
	limit int
	buf   []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - t.limit; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
