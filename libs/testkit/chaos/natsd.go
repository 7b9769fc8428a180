package main

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// This program is also the NATS server of the mill, as a process of its own
// that can be killed, when the environment names its directory.
const (
	envNATSDir  = "CHAOS_NATS_DIR"
	envNATSPort = "CHAOS_NATS_PORT"
)

func natsdIfAsked() {
	dir := os.Getenv(envNATSDir)
	if dir == "" {
		return
	}
	if err := natsd(dir, os.Getenv(envNATSPort)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func natsd(dir, port string) error {
	n, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: n, JetStream: true, StoreDir: dir, NoSigs: true, MaxPayload: 8 << 20,
		// What the disk has is not what the streams may grow to.
		JetStreamMaxStore: 1 << 40,
	})
	if err != nil {
		return err
	}
	s.ConfigureLogger()
	go s.Start()
	if !s.ReadyForConnections(30 * time.Second) {
		return fmt.Errorf("the NATS server is not ready on port %d", n)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	<-stop
	s.Shutdown()
	s.WaitForShutdown()
	return nil
}
