package chaos

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// process is one program that is started, killed and started again with the
// same arguments.
type process struct {
	t    *testing.T
	name string
	path string
	args []string
	env  []string
	log  string

	mu   sync.Mutex // guards the rest
	cmd  *exec.Cmd
	done chan struct{}
}

// launch starts a program; it is killed when the test ends, and its log is
// shown if the test failed.
func launch(t *testing.T, name, path string, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: name, path: path, args: args, env: env, log: filepath.Join(t.TempDir(), name+".log")}
	p.start()
	t.Cleanup(func() {
		p.kill()
		if !t.Failed() {
			return
		}
		if text, err := os.ReadFile(p.log); err == nil {
			t.Logf("the last of %s:\n%s", name, text[max(0, len(text)-3000):])
		}
	})
	return p
}

func (p *process) start() {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Error(err)
		return
	}
	defer log.Close()
	cmd := exec.Command(p.path, p.args...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		p.t.Errorf("start %s: %v", p.name, err)
		return
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait() // killed processes end with an error; that is the point
		close(done)
	}()
	p.mu.Lock()
	p.cmd, p.done = cmd, done
	p.mu.Unlock()
}

func (p *process) signal(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.cmd.Process.Signal(sig) // one that is gone is what was wanted
}

func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.done
}

// freePort finds a port that nothing listens on.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// build compiles the services once for the test.
func build(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range []string{"ingester", "enricher", "indexer", "query"} {
		cmd := exec.Command("go", "build", "-o", dir+"/"+name, "./services/"+name+"/cmd/"+name)
		cmd.Dir = "../../.."
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", name, err, out)
		}
	}
	return dir
}

func address(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
