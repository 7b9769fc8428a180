package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// process is one program that was started for a run.
type process struct {
	name string
	log  string
	cmd  *exec.Cmd
	done chan error // one value when it has ended
}

// launch starts a program whose words go to <dir>/<name>.log, with env added to
// its environment.
func launch(dir, name string, env []string, program string, args ...string) (*process, error) {
	p := &process{name: name, log: filepath.Join(dir, name+".log"), done: make(chan error, 1)}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the process has its own copy
	p.cmd = exec.Command(program, args...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.Env = append(os.Environ(), env...)
	// A group of its own: Ctrl-C at the terminal is for this program, which
	// then stops the others.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w (make build makes it)", name, err)
	}
	go func() { p.done <- p.cmd.Wait() }() // until the process ends
	return p, nil
}

// until waits for something that a process brings about.
func (p *process) until(ctx context.Context, what string, happened func() bool) error {
	deadline := time.Now().Add(2 * time.Minute)
	for !happened() {
		select {
		case err := <-p.done:
			p.done <- err
			return fmt.Errorf("%s ended before it was %s (%w), see %s", p.name, what, err, p.log)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is not %s after two minutes, see %s", p.name, what, p.log)
		}
	}
	return nil
}

// stop ends the process politely and waits for it.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case err := <-p.done:
		p.done <- err
		if err != nil {
			return fmt.Errorf("%s did not stop cleanly (%w), see %s", p.name, err, p.log)
		}
		return nil
	case <-time.After(time.Minute):
		_ = p.cmd.Process.Kill()
		return fmt.Errorf("%s did not stop within a minute, see %s", p.name, p.log)
	}
}

// kill ends a process whose end does not matter any more.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may be gone already
	p.done <- <-p.done
}

// freePort finds a port that nothing listens on.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return 0, fmt.Errorf("%v is no TCP address", l.Addr())
	}
	return addr.Port, nil
}

// answers says whether a GET brings 200.
func answers(url string) bool {
	resp, err := http.Get(url)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
