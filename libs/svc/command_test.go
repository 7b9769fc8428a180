package svc

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The test binary is also the process that the signal tests send signals to.
const playEnv = "SVC_TEST_PLAYS"

func TestMain(m *testing.M) {
	if play := os.Getenv(playEnv); play != "" {
		os.Exit(Main("probe", probe(play)))
	}
	os.Exit(m.Run())
}

// probe builds a service that plays a part: "drains" at once, "hangs" for ever
// after the first signal, "fails" at once, "refuses" to be built.
func probe(play string) Build {
	return func(fs *flag.FlagSet) func(Env) (Service, error) {
		var p probeFlags
		p.register(fs)
		return func(env Env) (Service, error) {
			if play == "refuses" {
				return nil, errors.New("max-rows: must not be 1000")
			}
			up := prometheus.NewGauge(prometheus.GaugeOpts{Name: "millrace_probe_up", Help: "1 while it runs."})
			env.Reg.MustRegister(up)
			env.Health.Register("nats", func(context.Context) error { return nil })
			return serviceFunc(func(ctx context.Context) error {
				up.Set(1)
				if play == "fails" {
					return errors.New("broken")
				}
				<-ctx.Done()
				env.Log.Info("told to stop")
				if play == "hangs" {
					select {}
				}
				return nil
			}), nil
		}
	}
}

func runProbe(t *testing.T, play string, env map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	opts := envOf(env)
	var out, errs bytes.Buffer
	c := command{name: "probe", build: probe(play)}
	code = c.run(t.Context(), host{args: args, env: opts.Env, environ: opts.EnvNames, stdout: &out, stderr: &errs})
	return code, out.String(), errs.String()
}

func TestMainEnds(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	check := func(play string, args []string, wantCode int, wantOut, wantErr string) {
		t.Helper()
		code, out, errs := runProbe(t, play, nil, args...)
		if code != wantCode || !strings.Contains(out, wantOut) || !strings.Contains(errs, wantErr) {
			t.Errorf("%s %q: code %d, want %d\nstdout %q, want %q in it\nstderr %q, want %q in it", play, args, code, wantCode, out, wantOut, errs, wantErr)
		}
	}
	check("drains", []string{"-h"}, 0, "Usage: probe", "")
	check("drains", []string{"--version"}, 0, "probe "+Version(), "")
	check("drains", []string{"--print-config"}, 0, "max-rows: 1000\n", "")
	check("drains", []string{"--nonsense"}, 2, "", "probe: unknown setting: flag --nonsense")
	check("drains", []string{"extra"}, 2, "", `argument "extra"`)
	check("drains", []string{"--log-level=loud"}, 2, "", "log level")
	check("drains", []string{"--drain-delay=-1s"}, 2, "", "must not be negative")
	check("drains", []string{"--admin-addr="}, 2, "", "admin-addr: must not be empty")
	check("drains", []string{"--admin-addr=" + taken.Addr().String()}, 2, "", taken.Addr().String())
	check("refuses", nil, 2, "", "probe: max-rows: must not be 1000")
	check("fails", []string{"--admin-addr=127.0.0.1:0"}, 1, "", "broken")
}

func TestHelpIsGolden(t *testing.T) {
	help := Help("probe", probe("drains"), WithAdminAddr("127.0.0.1:8099"))
	golden(t, "help.txt", help)
	code, out, _ := runProbe(t, "drains", nil, "--help")
	if want := Help("probe", probe("drains")); code != 0 || out != want {
		t.Errorf("--help and Help differ:\n%s\n%s", out, want)
	}
}

// child is a running process of this test binary.
type child struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
	admin string
}

func startChild(t *testing.T, play string) *child {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "--admin-addr=127.0.0.1:0", "--log-format=text")
	cmd.Env = append(os.Environ(), playEnv+"="+play)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: cmd, lines: bufio.NewScanner(stderr)}
	_, addr, _ := strings.Cut(c.until(t, "admin port is open"), "addr=")
	c.admin = "http://" + addr
	c.until(t, "msg=started")
	return c
}

// until reads the child's log up to the line that holds text.
func (c *child) until(t *testing.T, text string) string {
	t.Helper()
	for c.lines.Scan() {
		if strings.Contains(c.lines.Text(), text) {
			return c.lines.Text()
		}
	}
	t.Fatalf("the process ended before it logged %q", text)
	return ""
}

func (c *child) signal(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := c.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// code waits for the end of the child and returns its exit code.
func (c *child) code(t *testing.T) int {
	t.Helper()
	for c.lines.Scan() { // Wait closes the pipe: read it out before
	}
	if err := c.cmd.Wait(); err != nil && c.cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return c.cmd.ProcessState.ExitCode()
}

func TestFirstSignalDrains(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		c := startChild(t, "drains")
		c.signal(t, sig)
		c.until(t, "told to stop")
		if code := c.code(t); code != 0 {
			t.Errorf("%s: exit code %d, want 0", sig, code)
		}
	}
}

func TestSecondSignalKills(t *testing.T) {
	c := startChild(t, "hangs")
	c.signal(t, syscall.SIGTERM)
	c.until(t, "told to stop")
	if status, body := get(t, c.admin+"/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "draining") {
		t.Errorf("while draining /readyz says %d %q", status, body)
	}
	if status, _ := get(t, c.admin+"/livez"); status != http.StatusOK {
		t.Errorf("while draining /livez says %d", status)
	}
	c.signal(t, syscall.SIGINT)
	if code := c.code(t); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
}

func TestAdminPort(t *testing.T) {
	c := startChild(t, "drains")
	check := func(path string, wantStatus int, want ...string) {
		t.Helper()
		status, body := get(t, c.admin+path)
		if status != wantStatus {
			t.Errorf("%s: status %d, want %d", path, status, wantStatus)
		}
		for _, w := range want {
			if !strings.Contains(body, w) {
				t.Errorf("%s: no %q in\n%s", path, w, body)
			}
		}
	}
	check("/", 200, "/metrics")
	check("/livez", 200, "ok\n")
	check("/readyz", 200, "ok\n")
	check("/healthz", 200, "ok\n")
	check("/readyz?verbose", 200, "[+]process ok\n[+]probe/nats ok\nok\n")
	check("/metrics", 200, "millrace_probe_up 1\n", `millrace_build_info{go_version="go`, "go_goroutines", "process_cpu_seconds_total")
	check("/debug/pprof/", 200, "goroutine")
	check("/debug/pprof/cmdline", 200, "--admin-addr")
	check("/nothing", 404)
	c.signal(t, syscall.SIGTERM)
	if code := c.code(t); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

func TestReadyzNamesWhatFails(t *testing.T) {
	h := NewHealth()
	h.Started()
	h.Register("nats", func(context.Context) error { return nil })
	h.Register("clickhouse", func(context.Context) error { return fmt.Errorf("refused\nby host") })
	a, err := NewAdmin(AdminConfig{Addr: "127.0.0.1:0", Reg: NewRegistry(), Health: h, Log: discard()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	status, body := get(t, "http://"+a.Addr().String()+"/readyz")
	if status != http.StatusServiceUnavailable || body != "[-]clickhouse failed: refused; by host\nnot ready\n" {
		t.Errorf("got %d %q", status, body)
	}
	for _, path := range []string{"/readyz?exclude=clickhouse", "/readyz?exclude=nats&exclude=clickhouse"} {
		if status, body := get(t, "http://"+a.Addr().String()+path); status != http.StatusOK || body != "ok\n" {
			t.Errorf("%s: got %d %q", path, status, body)
		}
	}
	if status, _ := get(t, "http://"+a.Addr().String()+"/readyz?exclude=nats"); status != http.StatusServiceUnavailable {
		t.Errorf("without a check that passes: %d", status)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	again, err := net.Listen("tcp", a.Addr().String())
	if err != nil {
		t.Fatalf("the port is not free after Run: %v", err)
	}
	_ = again.Close()
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(content)
}
