package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/millrace/millrace/libs/localdb"
)

// splitConfig is an installation whose parts are processes of their own, as in
// production: NATS over TCP on loopback, files on disk.
type splitConfig struct {
	power bool
	late  bool // leave enricher and indexer out; see startLate
}

// services in the order in which an event meets them, and query.
var services = []string{"ingester", "enricher", "indexer", "query"}

// splitMill starts and stops the processes of one installation.
type splitMill struct {
	b         *bench
	in        *installation
	db        *localdb.Server
	nats      *process
	processes []*process // the services
}

const splitSource, splitKey = "bench", "bench-key"

// split starts the processes.
func (b *bench) split(ctx context.Context, cfg splitConfig) (*splitMill, error) {
	dir, err := os.MkdirTemp("", "millrace-bench-")
	if err != nil {
		return nil, err
	}
	m := &splitMill{b: b, in: &installation{dir: dir}}
	m.in.stop, m.in.kill = m.stop, m.kill
	if err := m.ground(ctx, cfg); err != nil {
		m.kill()
		return nil, err
	}
	for _, name := range services {
		if cfg.late && (name == "enricher" || name == "indexer") {
			continue
		}
		if err := m.service(ctx, name); err != nil {
			m.kill()
			return nil, err
		}
	}
	return m, nil
}

// ground starts what the services stand on: NATS, ClickHouse, streams, tables.
func (m *splitMill) ground(ctx context.Context, cfg splitConfig) (err error) {
	in := m.in
	passwords := localdb.NewPasswords()
	in.sql.passwords = map[string]string{localdb.WriterUser: passwords.Writer, localdb.ReaderUser: passwords.Reader, localdb.MigratorUser: passwords.Migrator}
	if m.nats, in.addrs.NATS, err = startNATS(ctx, in.dir, cfg.power); err != nil {
		return err
	}
	in.stages = append(in.stages, stage{"nats", m.nats.cmd.Process.Pid})
	m.db, err = localdb.Start(ctx, localdb.Config{Dir: filepath.Join(in.dir, "clickhouse"), Passwords: passwords, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	in.sql.url, in.addrs.ClickHouseHTTP = m.db.Addrs().HTTP, m.db.Addrs().HTTP
	in.stages = append(in.stages, stage{database, m.db.Pid()})
	durability := "process"
	if cfg.power {
		durability = "power"
	}
	out, err := exec.CommandContext(ctx, filepath.Join(m.b.bin, "millrace"), "migrate", "--nats-url", in.addrs.NATS,
		"--clickhouse-url", m.db.Addrs().URL(localdb.MigratorUser, passwords.Migrator), "--durability", durability).CombinedOutput()
	if err != nil {
		return fmt.Errorf("millrace migrate: %w: %s", err, out)
	}
	return nil
}

// service starts one service and waits until it is ready.
func (m *splitMill) service(ctx context.Context, name string) error {
	admin, err := freePort()
	if err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	own := "127.0.0.1:" + strconv.Itoa(port)
	args := []string{"--nats-url", m.in.addrs.NATS, "--admin-addr", "127.0.0.1:" + strconv.Itoa(admin), "--log-level", "warn"}
	switch name {
	case "ingester":
		m.in.addrs.Ingest, m.in.addrs.Source, m.in.addrs.Key = "http://"+own, splitSource, splitKey
		args = append(args, "--ingest-addr", own, "--write-keys", splitSource+":"+splitKey)
	case "indexer":
		args = append(args, "--clickhouse-url", m.db.Addrs().URL(localdb.WriterUser, m.in.sql.passwords[localdb.WriterUser]))
	case "query":
		m.in.addrs.Query = "http://" + own
		args = append(args, "--query-addr", own, "--clickhouse-http-url", m.db.Addrs().HTTP,
			"--clickhouse-user", localdb.ReaderUser, "--clickhouse-password", m.in.sql.passwords[localdb.ReaderUser])
	}
	p, err := launch(m.in.dir, name, nil, filepath.Join(m.b.bin, name), args...)
	if err != nil {
		return err
	}
	m.processes = append(m.processes, p)
	m.in.stages = append(m.in.stages, stage{name, p.cmd.Process.Pid})
	return p.until(ctx, "ready", func() bool { return answers(fmt.Sprintf("http://127.0.0.1:%d/readyz", admin)) })
}

// stop ends the services in the order in which events meet them, then the rest.
func (m *splitMill) stop() error {
	var errs []error
	for _, p := range m.processes {
		errs = append(errs, p.stop())
	}
	errs = append(errs, m.nats.stop())
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	errs = append(errs, m.db.Stop(ctx), os.RemoveAll(m.in.dir))
	return errors.Join(errs...)
}

func (m *splitMill) kill() {
	for _, p := range m.processes {
		p.kill()
	}
	if m.nats != nil {
		m.nats.kill()
	}
	if m.db != nil {
		_ = m.db.Kill() // it may be gone already
	}
}
