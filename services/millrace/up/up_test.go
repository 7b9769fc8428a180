package up

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/services/millrace/client"
)

// transcript keeps what is said.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (tr *transcript) Write(p []byte) (int, error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.text.Write(p)
}

func (tr *transcript) String() string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.text.String()
}

// installation is a running one of a test.
type installation struct {
	Ready
	cfg  Config
	said *transcript
	logs *transcript
	stop func() error
}

const patience = 2 * time.Minute

func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

func start(t *testing.T, change func(*Config)) *installation {
	t.Helper()
	in := &installation{said: &transcript{}, logs: &transcript{}}
	in.cfg = Config{
		Dir: t.TempDir(), MaxDisk: 2 << 30, IngestAddr: "127.0.0.1:0", QueryAddr: "127.0.0.1:0", AdminAddr: "127.0.0.1:0",
		Source: "demo", Durability: "process", DedupWindow: time.Hour, DemoRate: 50, DrainTimeout: time.Minute,
		Out: in.said, Log: slog.New(slog.NewTextHandler(in.logs, nil)),
	}
	change(&in.cfg)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, in.cfg) }()
	in.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() {
		if err := in.stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
		if t.Failed() {
			t.Logf("said:\n%s\nlogged:\n%s", in.said, in.logs)
		}
	})
	within(t, "ready", func() bool {
		var err error
		in.Ready, err = ReadReady(in.cfg.Dir)
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("it ended: %v", err)
		default:
		}
		return err == nil
	})
	return in
}

func (in *installation) clients(t *testing.T) (door, questions *client.Client) {
	t.Helper()
	door, err := client.New(client.Config{URL: in.Ingest, Key: in.WriteKey, Flag: "url", Patience: patience})
	if err != nil {
		t.Fatal(err)
	}
	questions, err = client.New(client.Config{URL: in.Query, Flag: "query-url", Patience: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(door.Close)
	t.Cleanup(questions.Close)
	return door, questions
}

func send(t *testing.T, door, questions *client.Client) {
	t.Helper()
	a, err := door.Post(t.Context(), client.Body{Data: []byte(`{"userId":"u","event":"e"}`)})
	if err != nil {
		t.Fatal(err)
	}
	if err := questions.WaitFor(t.Context(), a.Receipt, patience); err != nil {
		t.Fatal(err)
	}
}

func rows(t *testing.T, questions *client.Client, where string) int {
	t.Helper()
	answer, err := questions.SQL(t.Context(), client.Question{SQL: "SELECT count() FROM events WHERE " + where, Format: "TSV"})
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(answer)
	if err := errors.Join(err, answer.Close()); err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAKilledClickHouseIsStartedAgain(t *testing.T) {
	in := start(t, func(*Config) {})
	door, questions := in.clients(t)
	send(t, door, questions)

	found := regexp.MustCompile(`native [0-9.:]+, process (\d+)`).FindStringSubmatch(in.said.String())
	if found == nil {
		t.Fatal("the process of ClickHouse is not named")
	}
	pid, err := strconv.Atoi(found[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	// The door stays open, and the rows come when ClickHouse is back.
	for range 3 {
		send(t, door, questions)
	}
	if n := rows(t, questions, "event = 'e'"); n != 4 {
		t.Errorf("%d rows, want 4", n)
	}
	if log := in.logs.String(); !strings.Contains(log, "clickhouse ended, starting it again") || !strings.Contains(log, "clickhouse runs again") {
		t.Error("the log does not say what happened")
	}
	if err := in.stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
}

func TestAFullDirectoryClosesTheDoor(t *testing.T) {
	in := start(t, func(c *Config) { c.Shards, c.MaxDisk = 1, 160<<20 })
	post := func() (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, in.Ingest+"/v1/events", strings.NewReader(`{"userId":"u","event":"e"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Write-Key", in.WriteKey)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode == http.StatusTooManyRequests && res.Header.Get("Retry-After") == "" {
			t.Error("429 without Retry-After")
		}
		return res.StatusCode, string(body)
	}
	if status, body := post(); status != http.StatusOK {
		t.Fatalf("before: %d %s", status, body)
	}
	junk := filepath.Join(in.cfg.Dir, "junk")
	if err := os.WriteFile(junk, bytes.Repeat([]byte("x"), 160<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	within(t, "429", func() bool {
		status, body := post()
		return status == http.StatusTooManyRequests && strings.Contains(body, "--max-disk")
	})
	res, err := http.Get(in.Admin + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(body), "up/disk") {
		t.Errorf("readiness: %d %s", res.StatusCode, body)
	}
	if err := os.Remove(junk); err != nil {
		t.Fatal(err)
	}
	within(t, "200 again", func() bool {
		status, _ := post()
		return status == http.StatusOK
	})
}

func TestDemoTrafficFlowsAndTheFilesSayWhere(t *testing.T) {
	var asked string
	in := start(t, func(c *Config) {
		c.Demo, c.DemoRate, c.DemoSeed, c.Durability = true, 200, 1, "power"
		asked = filepath.Join(t.TempDir(), "ready.json")
		c.ReadyFile = asked
	})
	_, questions := in.clients(t)
	within(t, "demo rows", func() bool {
		return rows(t, questions, "browser != '' AND utm_source != '' AND properties['section'] = 'product'") > 0 &&
			rows(t, questions, "event = 'Product Added'") > 0
	})
	text, err := os.ReadFile(asked)
	if err != nil {
		t.Fatal(err)
	}
	var r Ready
	if err := json.Unmarshal(text, &r); err != nil || r != in.Ready {
		t.Errorf("the ready file says %s, the directory %+v (%v)", text, in.Ready, err)
	}
	if err := in.stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	for _, path := range in.cfg.readyFiles() {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", path, err)
		}
	}
}

func TestShardsOfAnInstallationStay(t *testing.T) {
	in := start(t, func(c *Config) { c.Shards = 2 })
	if err := in.stop(); err != nil {
		t.Fatal(err)
	}
	cfg := in.cfg
	cfg.Shards = 3
	if err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "2 shards") {
		t.Errorf("error %v, want one that says there are 2 shards", err)
	}
	// Not said, and on a smaller budget: as it is.
	again := start(t, func(c *Config) { c.Dir, c.MaxDisk = in.cfg.Dir, 1<<30 })
	if !strings.Contains(again.said.String(), "found, 2 shards") {
		t.Errorf("said:\n%s", again.said)
	}
}
