package bus_test

import (
	"net"
	"testing"

	"github.com/millrace/millrace/libs/bus"
)

type embedded struct{}

func (embedded) InProcessConn() (net.Conn, error) { return nil, net.ErrClosed }

func TestLocal(t *testing.T) {
	for list, want := range map[string]bool{
		"":                                true,
		"nats://127.0.0.1:4222":           true,
		"127.0.0.1":                       true,
		"localhost:4222":                  true,
		"tls://user:secret@LOCALHOST":     true,
		"nats://[::1]:4222":               true,
		"ws://127.0.0.2:80, nats://[::1]": true,
		"nats://nats:4222":                false,
		"10.0.0.1":                        false,
		"nats://0.0.0.0:4222":             false,
		"localhost.example.org":           false,
		"nats://127.0.0.1:4222,nats://10.0.0.1:4222": false,
		"nats://127.0.0.1,":                          false,
		"nats://%zz":                                 false,
	} {
		if got := (&bus.Config{URL: list}).Local(); got != want {
			t.Errorf("%q: %t", list, got)
		}
	}
	if !(&bus.Config{URL: "nats://nats:4222", InProcess: embedded{}}).Local() {
		t.Error("a server in the process is elsewhere")
	}
}
