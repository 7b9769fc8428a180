package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// natsd makes this program a NATS server, the process of the part `split`:
// natsd DIRECTORY PORT SYNC, the last true or false.
func natsd(ctx context.Context, args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("natsd %q: want a directory, a port, and whether to sync always", args)
	}
	port, err := strconv.Atoi(args[1])
	if err != nil {
		return fmt.Errorf("natsd: port: %w", err)
	}
	always, err := strconv.ParseBool(args[2])
	if err != nil {
		return fmt.Errorf("natsd: %w", err)
	}
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: args[0], JetStreamMaxStore: 1 << 40, NoSigs: true, NoLog: true,
		MaxPayload: 8 << 20, SyncAlways: always,
	})
	if err != nil {
		return fmt.Errorf("NATS: %w", err)
	}
	s.Start()
	<-ctx.Done()
	s.Shutdown()
	s.WaitForShutdown()
	return nil
}

// startNATS starts this program as a NATS server.
func startNATS(ctx context.Context, dir string, power bool) (*process, string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	port, err := freePort()
	if err != nil {
		return nil, "", err
	}
	p, err := launch(dir, "nats", nil, self, "natsd", filepath.Join(dir, "nats"), strconv.Itoa(port), strconv.FormatBool(power))
	if err != nil {
		return nil, "", err
	}
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	err = p.until(ctx, "ready", func() bool {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	if err != nil {
		p.kill()
		return nil, "", err
	}
	return p, "nats://" + addr, nil
}
