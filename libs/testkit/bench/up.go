package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// installation is a running Millrace that a run measures.
type installation struct {
	dir    string // holds everything
	stages []stage
	addrs  addresses
	sql    clickhouse
	stop   func() error // ends everything and removes dir
	kill   func()       // ends everything at once and leaves dir, to be looked into
}

// addresses are those of the ready file of `millrace up`.
type addresses struct {
	Ingest         string `json:"ingest"`
	Query          string `json:"query"`
	Admin          string `json:"admin"`
	NATS           string `json:"nats"`
	ClickHouseHTTP string `json:"clickhouse_http"`
	Source         string `json:"source"`
	Key            string `json:"write_key"`
}

// up starts `millrace up` in a new directory.
func (b *bench) up(ctx context.Context, args ...string) (*installation, error) {
	dir, err := os.MkdirTemp("", "millrace-bench-")
	if err != nil {
		return nil, err
	}
	data, ready := filepath.Join(dir, "data"), filepath.Join(dir, "ready.json")
	p, err := launch(dir, "up", nil, filepath.Join(b.bin, "millrace"), append([]string{
		"up", "--dir", data, "--ready-file", ready, "--ingest-addr", "127.0.0.1:0", "--query-addr", "127.0.0.1:0",
		"--admin-addr", "127.0.0.1:0", "--nats-port", "0", "--clickhouse-http-port", "0", "--clickhouse-native-port", "0",
	}, append(args, b.upArgs...)...)...)
	if err != nil {
		return nil, err
	}
	in := &installation{dir: dir, kill: p.kill, stop: func() error { return errors.Join(p.stop(), os.RemoveAll(dir)) }}
	fail := func(err error) (*installation, error) {
		p.kill()
		return nil, err
	}
	if err := p.until(ctx, "ready", func() bool { _, err := os.Stat(ready); return err == nil }); err != nil {
		return fail(err)
	}
	if err := readJSON(ready, &in.addrs); err != nil {
		return fail(err)
	}
	var secrets struct {
		Passwords map[string]string `json:"clickhouse_passwords"`
	}
	if err := readJSON(filepath.Join(data, "secrets.json"), &secrets); err != nil {
		return fail(err)
	}
	in.sql = clickhouse{url: in.addrs.ClickHouseHTTP, passwords: secrets.Passwords}
	in.stages = []stage{{"up", p.cmd.Process.Pid}}
	for _, pid := range children(p.cmd.Process.Pid) {
		in.stages = append(in.stages, stage{database, pid})
	}
	if len(in.stages) < 2 {
		return fail(fmt.Errorf("millrace up has no ClickHouse child, see %s", p.log))
	}
	return in, nil
}

func readJSON(path string, to any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, to); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
