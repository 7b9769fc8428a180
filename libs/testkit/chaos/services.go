package main

import (
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/millrace/millrace/libs/localdb"
	"github.com/millrace/millrace/libs/testkit/ports"
)

// startService starts the processes of a service, each behind proxies of its
// own.
func (m *mill) startService(name string) error {
	var pair [each]*process
	for i := range pair {
		id := fmt.Sprintf("%s-%d", name, i)
		bus, err := m.wire(id+">nats", address(m.natsPort))
		if err != nil {
			return err
		}
		env := []string{
			"NATS_URL=nats://" + bus.Addr(), "MILLRACE_WRITE_KEYS=" + source + ":" + writeKey, "MILLRACE_CLOCK_FILE=" + m.clock,
		}
		args, err := m.arguments(name, id, i)
		if err != nil {
			return err
		}
		if pair[i], err = launch(m.dir, id, filepath.Join(m.bin, name), env, args...); err != nil {
			return err
		}
	}
	m.services[name] = pair
	return nil
}

func (m *mill) arguments(name, id string, i int) ([]string, error) {
	args := []string{"--admin-addr", "127.0.0.1:0"}
	port, err := ports.Free()
	if err != nil {
		return nil, err
	}
	addrs := m.db.running().Addrs()
	switch name {
	case "ingester":
		door, err := m.wire("producer>"+id, address(port))
		if err != nil {
			return nil, err
		}
		m.doors[i] = door.Addr()
		args = append(args, "--ingest-addr", address(port), "--sinks", strconv.Itoa(sinkCount), "--hold", "4s",
			"--raw-size", m.rawSize, "--enriched-size", m.rawSize, "--in-size", "256MiB", "--dead-size", "64MiB")
	case "enricher":
		args = append(args, "--lease-ttl", leaseTTL.String())
	case "indexer":
		native, err := m.wire(id+">clickhouse", addrs.Native)
		if err != nil {
			return nil, err
		}
		through := localdb.Addrs{Native: native.Addr()}
		args = append(args, "--lease-ttl", leaseTTL.String(), "--insert-timeout", insertTimeout.String(),
			"--clickhouse-url", through.URL(localdb.WriterUser, m.db.password(localdb.WriterUser)))
	case "query":
		http, err := m.wire(id+">clickhouse", addrs.HTTP[len("http://"):])
		if err != nil {
			return nil, err
		}
		m.queries[i] = address(port)
		args = append(args, "--query-addr", m.queries[i], "--clickhouse-http-url", "http://"+http.Addr(),
			"--clickhouse-user", localdb.ReaderUser, "--clickhouse-password", m.db.password(localdb.ReaderUser))
	}
	return args, nil
}
