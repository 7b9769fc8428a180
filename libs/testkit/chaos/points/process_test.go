//go:build failpoint

package points

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/libs/failpoint"
)

// process is one life of a service.
type process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{}
	log  output
}

// output is what a process has said so far.
type output struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// launch starts a program.
func launch(t *testing.T, path string, env []string, args ...string) *process {
	t.Helper()
	p := &process{name: filepath.Base(path), cmd: exec.Command(path, args...), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", p.name, err)
	}
	go func() {
		_ = p.cmd.Wait() // killed processes end with an error; that is the point
		close(p.done)
	}()
	return p
}

func (p *process) signal(sig syscall.Signal) { _ = p.cmd.Process.Signal(sig) } // one that is gone is what was wanted

// end asks the process to end, and kills it if it takes long.
func (p *process) end() {
	p.signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		p.signal(syscall.SIGKILL)
		<-p.done
	}
}

// fired says that the process has told of the action at a point.
func (p *process) fired(point failpoint.Name, action string) bool {
	return strings.Contains(p.log.String(), fmt.Sprintf("failpoint %s: %s\n", point, action))
}

// killed says that the process ended by SIGKILL.
func (p *process) killed() bool {
	select {
	case <-p.done:
		status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
		return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
	default:
		return false
	}
}

// stopped says that the process is stopped by a signal.
func (p *process) stopped() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return false
	}
	// pid (name) state; the name may hold anything.
	_, rest, _ := strings.Cut(string(stat[bytes.LastIndexByte(stat, ')'):]), " ")
	return strings.HasPrefix(rest, "T")
}

// tell shows the end of what the process said.
func (p *process) tell(t *testing.T) {
	text := p.log.String()
	t.Logf("the last of %s %d:\n%s", p.name, p.cmd.Process.Pid, text[max(0, len(text)-4000):])
}
