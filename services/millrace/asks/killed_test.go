package asks

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/libs/localdb"
	"github.com/millrace/millrace/libs/svc"
	"github.com/millrace/millrace/libs/testkit"
	"github.com/millrace/millrace/services/query"
)

// asQuery makes the test binary a query service.
const asQuery = "ASKS_QUERY_SERVICE"

func TestMain(m *testing.M) {
	if os.Getenv(asQuery) != "" {
		os.Exit(svc.Main("query", query.Command))
	}
	os.Exit(m.Run())
}

// process is a query service of its own.
type process struct {
	m    *mill
	base string
	args []string
	cmd  *exec.Cmd
}

func (m *mill) process() *process {
	m.Helper()
	addr := testkit.FreeAddr(m)
	p := &process{m: m, base: "http://" + addr, args: []string{
		"--query-addr", addr, "--admin-addr", "127.0.0.1:0", "--nats-url", m.nats.URL, "--clickhouse-http-url", m.db.Addrs().HTTP,
		"--clickhouse-user", localdb.ReaderUser, "--clickhouse-password", m.db.Password(localdb.ReaderUser), "--clickhouse-database", localdb.Database,
	}}
	p.start()
	m.Cleanup(p.kill)
	return p
}

func (p *process) start() {
	p.m.Helper()
	self, err := os.Executable()
	p.m.must(err)
	p.cmd = exec.Command(self, p.args...)
	p.cmd.Env = append(os.Environ(), asQuery+"=1")
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.m.must(p.cmd.Start())
	p.m.ready(p.base)
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait() // it was killed
}

// TestTwoQueryServices asks two query services in turns, of which one is killed and started again all the time: both answer
// the same, which is the model's, and an ask that was cut is stored once when it is sent again to the other.
func TestTwoQueryServices(t *testing.T) {
	const each, some, kills = 120, 3, 4
	m := newMill(t)
	killed, other := m.process(), m.process()
	var asked atomic.Int64
	var cut atomic.Int64
	var wg sync.WaitGroup
	for i := range some {
		a := &asker{Rand: rand.New(rand.NewPCG(9, uint64(i))), m: m, bases: []string{other.base}, name: strconv.Itoa(i)}
		wg.Go(func() {
			for n := range each {
				if err := a.both(n, killed.base, other.base, &cut); err != nil {
					t.Errorf("asker %s, question %d: %v", a.name, n, err)
					return
				}
				asked.Add(1)
			}
		})
	}
	ended := make(chan struct{})
	go func() { wg.Wait(); close(ended) }()
	lives := 0
	for asked.Load() < each*some && lives < kills {
		at := asked.Load() + each*some/(kills+2)
		for asked.Load() < at {
			select {
			case <-ended:
				t.Fatal("they ended too early")
			case <-time.After(5 * time.Millisecond):
			}
		}
		killed.kill()
		<-time.After(50 * time.Millisecond)
		killed.start()
		lives++
	}
	<-ended
	t.Logf("%d questions, %d lives, %d answers were cut or refused", asked.Load(), lives+1, cut.Load())
	if t.Failed() {
		return
	}
	if cut.Load() == 0 {
		t.Error("nobody noticed that it was killed")
	}
	want := m.db.Count("SELECT uniqExact(event_id) FROM events")
	testkit.Eventually(t, "nothing is stored twice", func() bool { return m.db.Count("SELECT count() FROM events") == want })
}

// both sends what somebody does, asks one of the services and then both of them about it.
func (a *asker) both(n int, first, second string, cut *atomic.Int64) error {
	p := a.whom()
	s := p.next()
	if err := a.send(s, n%2 == 0); err != nil {
		return err
	}
	p.history = append(p.history, s)
	q := p.question()
	p.history = append(p.history, q)
	bases := []string{first, second}
	if n%2 == 0 {
		bases = []string{second, first}
	}
	// tried asks the services in turns until one answers.
	tried := func(bases []string, get func(base string) (answer, error)) (got answer, err error) {
		for i := range 100 {
			if got, err = get(bases[i%len(bases)]); err == nil && got.status == 200 {
				return got, nil
			}
			cut.Add(1)
		}
		return got, fmt.Errorf("nobody answers: %w", err)
	}
	err := a.compare(p, q.whom(), q, 20, func() (answer, error) {
		return tried(bases, func(base string) (answer, error) { return ask(a.m.Context(), base, q.body(), nil) })
	})
	if err != nil {
		return err
	}
	for _, base := range bases {
		err := a.compare(p, q.whom(), nil, 20, func() (answer, error) {
			return tried([]string{base, second}, func(base string) (answer, error) { return about(a.m.Context(), base, q.whom(), url.Values{}) })
		})
		if err != nil {
			return fmt.Errorf("%s: %w", base, err)
		}
	}
	return nil
}
