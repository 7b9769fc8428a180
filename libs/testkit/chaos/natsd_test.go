package chaos

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// The test binary is also the NATS server of the test, as a process of its own
// that can be killed.
const (
	envNATSDir  = "CHAOS_NATS_DIR"
	envNATSPort = "CHAOS_NATS_PORT"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(envNATSDir); dir != "" {
		if err := natsd(dir, os.Getenv(envNATSPort)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func natsd(dir, port string) error {
	n, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: n, JetStream: true, StoreDir: dir, NoSigs: true, MaxPayload: 8 << 20,
	})
	if err != nil {
		return err
	}
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
