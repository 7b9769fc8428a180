package check

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/nats-io/nats.go"

	"github.com/millrace/millrace/libs/localdb"
	"github.com/millrace/millrace/libs/testkit"
)

// installation is compose.yaml as processes of this machine: the same programs with the same settings under the same
// users. Only addresses are others.
type installation struct {
	t       *testing.T
	project *types.Project
	nats    *testkit.NATS
	db      *localdb.Server
	ports   map[string]string // of the services, by what compose.yaml calls them
}

func startInstallation(t *testing.T) *installation {
	t.Helper()
	p, err := compose(t, words())
	if err != nil {
		t.Fatal(err)
	}
	return &installation{t: t, project: p, nats: startNATS(t), db: startClickHouse(t, true), ports: map[string]string{}}
}

// env is the environment of a service of compose.yaml with the addresses of this machine.
func (i *installation) env(service string) []string {
	i.t.Helper()
	here := strings.NewReplacer(
		"nats://nats:4222", i.nats.URL,
		"clickhouse:9000", i.db.Addrs().Native,
		"http://clickhouse:8123", i.db.Addrs().HTTP,
	)
	var env []string
	for k, v := range i.project.Services[service].Environment {
		value := here.Replace(*v)
		if port, listens := strings.CutPrefix(value, "0.0.0.0:"); listens {
			value = i.addr(service, port)
		}
		env = append(env, k+"="+value)
	}
	return env
}

// addr is where a port of a service is on this machine.
func (i *installation) addr(service, port string) string {
	i.t.Helper()
	key := service + ":" + port
	if i.ports[key] == "" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			i.t.Fatal(err)
		}
		i.ports[key] = l.Addr().String()
		if err := l.Close(); err != nil {
			i.t.Fatal(err)
		}
	}
	return i.ports[key]
}

// migrate runs the one-shot service.
func (i *installation) migrate() {
	i.t.Helper()
	answer(i.t, program(i.t, command), i.env("migrate"), i.project.Services["migrate"].Command...)
}

// process is one running service.
type process struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	log  *lockedBuffer
}

// start runs a service with more arguments than compose.yaml gives it; it is killed with the test.
func (i *installation) start(service string, args ...string) *process {
	i.t.Helper()
	p := &process{t: i.t, name: service, log: &lockedBuffer{}}
	// Not the test's context: the end of a service is its own affair.
	p.cmd = exec.CommandContext(context.WithoutCancel(i.t.Context()), program(i.t, service), args...)
	p.cmd.Dir, p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = i.t.TempDir(), i.env(service), p.log, p.log
	if err := p.cmd.Start(); err != nil {
		i.t.Fatal(err)
	}
	i.t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			_ = p.cmd.Process.Kill() // the test has failed before stop
			_ = p.cmd.Wait()
		}
		if i.t.Failed() {
			i.t.Logf("%s:\n%s", service, p.log)
		}
	})
	return p
}

// healthy waits until the health check of compose.yaml says so.
func (i *installation) healthy(service string) {
	i.t.Helper()
	test := i.project.Services[service].HealthCheck.Test // CMD /probe URL
	url := strings.Replace(test[2], "127.0.0.1:8081", i.addr(service, "8081"), 1)
	testkit.Eventually(i.t, service+" is healthy", func() bool {
		return exec.CommandContext(i.t.Context(), program(i.t, strings.TrimPrefix(test[1], "/")), url).Run() == nil
	})
}

// stop ends a service as compose does and wants it to end well, within the grace that compose gives.
func (i *installation) stop(p *process) {
	i.t.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		i.t.Fatal(err)
	}
	grace := time.AfterFunc(time.Duration(*i.project.Services[p.name].StopGracePeriod), func() { _ = p.cmd.Process.Kill() })
	defer grace.Stop()
	if err := p.cmd.Wait(); err != nil {
		i.t.Errorf("%s did not end well: %v", p.name, err)
	}
	p.stayedInside()
}

// kill ends a service without a chance to do anything about it.
func (p *process) kill() {
	p.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Fatal(err)
	}
	_ = p.cmd.Wait() // it says that it was killed
	p.stayedInside()
}

// stayedInside: NATS has refused nothing that the service did.
func (p *process) stayedInside() {
	p.t.Helper()
	if strings.Contains(strings.ToLower(p.log.String()), "permissions violation") {
		p.t.Errorf("%s tried what its user may not do:\n%s", p.name, p.log)
	}
}

// as connects as a user of nats-server.conf.
func (i *installation) as(user string) *nats.Conn { return connect(i.t, i.nats.URL, user) }

// number asks ClickHouse as the reader.
func (i *installation) number(sql string) string {
	i.t.Helper()
	out, ok := ask(i.t, i.db, localdb.ReaderUser, clickhousePassword(localdb.ReaderUser), sql)
	if !ok {
		i.t.Fatalf("%s: %s", sql, out)
	}
	return strings.TrimSpace(out)
}

func (i *installation) url(service, port, path string) string {
	return fmt.Sprintf("http://%s%s", i.addr(service, port), path)
}

// lockedBuffer is written by a process and read by the test.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String returns what was written so far.
func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
