package examples

import (
	"bytes"
	"context"
	"flag"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/libs/testkit"
	"github.com/millrace/millrace/services/millrace/client"
	"github.com/millrace/millrace/services/millrace/up"
)

// mill is a whole Millrace in this process.
type mill struct {
	up.Ready
	questions *client.Client
}

func newMill(t *testing.T) *mill {
	t.Helper()
	var cfg up.Config
	cfg.RegisterFlags(flag.NewFlagSet("", flag.PanicOnError)) // sets the defaults
	cfg.Dir, cfg.MaxDisk, cfg.Shards = t.TempDir(), 2<<30, 2
	cfg.IngestAddr, cfg.QueryAddr, cfg.AdminAddr = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	cfg.NATSPort, cfg.ClickHouseHTTPPort, cfg.ClickHouseNativePort = 0, 0, 0
	cfg.Out, cfg.Log = io.Discard, slog.New(slog.DiscardHandler)

	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- up.Run(ctx, cfg) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	m := &mill{}
	testkit.Eventually(t, "Millrace is ready", func() bool {
		select {
		case err := <-ended:
			ended <- nil
			t.Fatalf("it ended: %v", err)
		default:
		}
		var err error
		m.Ready, err = up.ReadReady(cfg.Dir)
		return err == nil
	})
	var err error
	if m.questions, err = client.New(client.Config{URL: m.Query, Flag: "query-url", Patience: time.Minute}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.questions.Close)
	return m
}

// python finds an interpreter that has Flask: Debian's, or the one in the path.
func python(t *testing.T) string {
	t.Helper()
	var tried []string
	for _, name := range []string{"/usr/bin/python3", "python3"} {
		out, err := exec.CommandContext(t.Context(), name, "-c", "import flask").CombinedOutput()
		if err == nil {
			return name
		}
		tried = append(tried, name+": "+err.Error()+" "+string(bytes.TrimSpace(out)))
	}
	t.Fatalf("the example needs Python with Flask: sudo apt-get install python3-flask\n%s", strings.Join(tried, "\n"))
	return ""
}

// app is the example as a process.
type app struct {
	url  string
	stop func() // as systemd does, and returns when it has ended
	said *said
}

// running is what Flask says when it listens; with port 0 it has found one.
var running = regexp.MustCompile(`Running on (http://127\.0\.0\.1:\d+)`)

// newApp starts the example with a door and the query service of m.
func (m *mill) newApp(t *testing.T, door string) *app {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", "..", "..", "docs", "examples", "flask"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), python(t), filepath.Join(dir, "app.py"))
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "MILLRACE_URL="+door, "MILLRACE_QUERY_URL="+m.Query, "MILLRACE_WRITE_KEY="+m.WriteKey,
		"HOST=127.0.0.1", "PORT=0", "PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1", "no_proxy=*")
	a := &app{said: &said{}}
	cmd.Stdout, cmd.Stderr = a.said, a.said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	a.stop = sync.OnceFunc(func() {
		t.Helper()
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		timer := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() }) // Wait says so
		defer timer.Stop()
		if err := <-ended; err != nil {
			t.Errorf("the application: %v", err)
		}
	})
	t.Cleanup(func() {
		a.stop()
		if t.Failed() {
			t.Logf("the application says:\n%s", a.said)
		}
	})
	testkit.Eventually(t, "the application listens", func() bool {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("the application ended: %v\n%s", err, a.said)
		default:
		}
		found := running.FindStringSubmatch(a.said.String())
		if found != nil {
			a.url = found[1]
		}
		return found != nil
	})
	return a
}

// said keeps what a process writes.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}
