package localdb

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"
)

// envParent makes the test binary a parent that starts a server and then waits to be killed.
const envParent = "LOCALDB_TEST_PARENT"

type parentReport struct {
	Addrs Addrs
	Pid   int
}

func TestMain(m *testing.M) {
	if library := os.Getenv(envBinary); library != "" {
		if err := actAsBinary(library, os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if raw := os.Getenv(envParent); raw != "" {
		os.Exit(beParent(raw))
	}
	os.Exit(m.Run())
}

func beParent(raw string) int {
	var cfg Config
	if err := json.Unmarshal([]byte(raw), &cfg); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	cfg.Log = slog.New(slog.DiscardHandler)
	s, err := Start(context.Background(), cfg)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := json.NewEncoder(os.Stdout).Encode(parentReport{s.Addrs(), s.Pid()}); err != nil {
		return 1
	}
	<-s.Done()
	return 1
}

func testConfig(t *testing.T) Config {
	t.Helper()
	return Config{
		Dir: t.TempDir(), Passwords: NewPasswords(), MemoryLimit: 2 << 30,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)), lockPatience: 200 * time.Millisecond,
	}
}

func start(t *testing.T, cfg Config) *Server {
	t.Helper()
	s, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	t.Cleanup(func() {
		select {
		case <-s.Done():
			return
		default:
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 30*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return s
}

// ask runs one statement over HTTP and returns the answer, or the exception.
func ask(t *testing.T, a Addrs, user, password, sql string, settings ...string) (string, error) {
	t.Helper()
	q := url.Values{}
	for i := 0; i+1 < len(settings); i += 2 {
		q.Set(settings[i], settings[i+1])
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.HTTP+"/?"+q.Encode(), strings.NewReader(sql))
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	tr := &http.Transport{DisableKeepAlives: true}
	res, err := (&http.Client{Transport: tr, Timeout: time.Minute}).Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return "", err
	}
	if code := res.Header.Get("X-ClickHouse-Exception-Code"); code != "" {
		return "", &exception{code, strings.TrimSpace(string(body))}
	}
	return strings.TrimSpace(string(body)), nil
}

type exception struct{ code, text string }

func (e *exception) Error() string { return "code " + e.code + ": " + e.text }

func must(t *testing.T, s *Server, user, password, sql string) string {
	t.Helper()
	got, err := ask(t, s.Addrs(), user, password, sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return got
}

// makeTable creates millrace.t as the migrator and puts three rows in as the writer.
func makeTable(t *testing.T, s *Server, p Passwords) {
	t.Helper()
	must(t, s, MigratorUser, p.Migrator, "CREATE DATABASE IF NOT EXISTS millrace")
	must(t, s, MigratorUser, p.Migrator, "CREATE TABLE millrace.t (x UInt64) ENGINE = MergeTree ORDER BY x")
	must(t, s, WriterUser, p.Writer, "INSERT INTO millrace.t SELECT number FROM numbers(3)")
}

func wantRows(t *testing.T, s *Server, p Passwords) {
	t.Helper()
	if got := must(t, s, ReaderUser, p.Reader, "SELECT count(), sum(x) FROM millrace.t"); got != "3\t3" {
		t.Fatalf("rows and sum are %q, want 3 and 3", got)
	}
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("did not happen within 20 s")
		}
	}
}
