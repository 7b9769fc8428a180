package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// process is one program that is started, killed and started again with the
// same arguments.
type process struct {
	name string
	path string
	args []string
	env  []string
	log  string // file; all lives of the process write to it

	mu   sync.Mutex // guards the rest
	cmd  *exec.Cmd
	done chan struct{}
}

// launch starts a program whose log lies in dir.
func launch(dir, name, path string, env []string, args ...string) (*process, error) {
	p := &process{name: name, path: path, args: args, env: env, log: filepath.Join(dir, name+".log")}
	return p, p.start()
}

// start starts the process once more. with is added to its environment for this
// life.
func (p *process) start(with ...string) error {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the child has its own
	cmd := exec.Command(p.path, p.args...)
	cmd.Env = append(append(os.Environ(), p.env...), with...)
	cmd.Stdout, cmd.Stderr = log, log
	// A group of its own: Ctrl-C is for the lab, which ends the run in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait() // killed processes end with an error; that is the point
		close(done)
	}()
	p.mu.Lock()
	p.cmd, p.done = cmd, done
	p.mu.Unlock()
	return nil
}

func (p *process) signal(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.cmd.Process.Signal(sig) // one that is gone is what was wanted
}

func (p *process) ended() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.ended()
}

// terminate asks the process to end and waits, also when the run is being
// ended: it is to be started again.
func (p *process) terminate(ctx context.Context) error {
	p.signal(syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 40*time.Second)
	defer cancel()
	select {
	case <-p.ended():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s does not end after SIGTERM: %w", p.name, ctx.Err())
	}
}

// pid is the id of the current life.
func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Pid
}

// wholeLog is more than any log has.
const wholeLog = 1 << 40

// tail is the end of the process's log.
func (p *process) tail(bytes int) string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-bytes):])
}

func address(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
