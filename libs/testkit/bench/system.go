package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// system is one running `millrace up`.
type system struct {
	cmd   *exec.Cmd
	dir   string
	done  chan error
	Addrs struct {
		Ingest string `json:"ingest"`
		Query  string `json:"query"`
		NATS   string `json:"nats"`
		Source string `json:"source"`
		Key    string `json:"write_key"`
	}
}

func start(ctx context.Context, bin string, args ...string) (*system, error) {
	dir, err := os.MkdirTemp("", "millrace-bench-")
	if err != nil {
		return nil, err
	}
	s := &system{dir: dir, done: make(chan error, 1)}
	ready := filepath.Join(dir, "ready.json")
	s.cmd = exec.Command(bin, append([]string{
		"up", "--dir", filepath.Join(dir, "data"), "--ready-file", ready, "--ingest-addr", "127.0.0.1:0", "--query-addr", "127.0.0.1:0",
		"--admin-addr", "127.0.0.1:0", "--nats-port", "0", "--clickhouse-http-port", "0", "--clickhouse-native-port", "0",
	}, args...)...)
	log, err := os.Create(filepath.Join(dir, "up.log"))
	if err != nil {
		return nil, err
	}
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w (make build makes it)", bin, err)
	}
	go func() { s.done <- s.cmd.Wait() }()
	for {
		text, err := os.ReadFile(ready)
		if err == nil {
			return s, json.Unmarshal(text, &s.Addrs)
		}
		select {
		case err := <-s.done:
			return nil, fmt.Errorf("millrace up ended before it was ready (%w), see %s", err, log.Name())
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (s *system) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case err := <-s.done:
		if err != nil {
			return fmt.Errorf("millrace up did not stop cleanly: %w", err)
		}
	case <-time.After(time.Minute):
		_ = s.cmd.Process.Kill()
		return errors.New("millrace up did not stop within a minute")
	}
	return os.RemoveAll(s.dir)
}

// usage is the CPU time and resident memory of the system's processes.
type usage struct {
	Up, ClickHouse float64 // seconds, user and system
	UpMB, ClickMB  float64 // resident
}

func (s *system) usage() usage {
	var u usage
	u.Up, u.UpMB = procStat(s.cmd.Process.Pid)
	children, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range children {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		i := bytes.LastIndexByte(text, ')')
		fields := strings.Fields(string(text[i+1:]))
		if len(fields) > 2 && fields[1] == strconv.Itoa(s.cmd.Process.Pid) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			cpu, rss := procStat(pid)
			u.ClickHouse += cpu
			u.ClickMB += rss
		}
	}
	return u
}

func procStat(pid int) (cpu, rssMB float64) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	pages, _ := strconv.ParseFloat(fields[21], 64)
	const ticks = 100 // USER_HZ, fixed by the kernel's interface
	return (user + system) / ticks, pages * float64(os.Getpagesize()) / (1 << 20)
}

// sql asks the query service for one line.
func (s *system) sql(ctx context.Context, query, after string) (string, error) {
	u := s.Addrs.Query + "/v1/sql?format=TSV"
	if after != "" {
		u += "&timeout=30s&after=" + url.QueryEscape(after)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u, strings.NewReader(query))
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, text)
	}
	return strings.TrimSpace(string(text)), err
}

// arrived waits until a system that began empty has this many rows. count()
// without a condition is answered from metadata; five a second, because even
// so a query costs ClickHouse some 5 ms (forty a second were a third of the
// CPU that a run measured).
func (s *system) arrived(ctx context.Context, events int) (time.Time, error) {
	for {
		text, err := s.sql(ctx, "SELECT count() FROM events", "")
		if err != nil {
			return time.Time{}, err
		}
		if n, _ := strconv.Atoi(text); n >= events {
			return time.Now(), nil
		}
		select {
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("only %s of %d events arrived: %w", text, events, ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// exact checks that each of the events is there once. It comes after the
// measuring, because it reads everything.
func (s *system) exact(ctx context.Context, events int) error {
	text, err := s.sql(ctx, "SELECT count(), uniqExact(event_id) FROM events", "")
	if err == nil && text != fmt.Sprintf("%d\t%d", events, events) {
		err = fmt.Errorf("events were lost or doubled: sent %d, rows and distinct ids %s", events, text)
	}
	return err
}
