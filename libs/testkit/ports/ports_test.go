package ports

import (
	"net"
	"testing"
)

func TestFree(t *testing.T) {
	seen := map[int]bool{}
	for range 200 {
		port, err := Free()
		if err != nil || seen[port] || port < least || port >= most {
			t.Fatalf("port %d, %v; given before: %v", port, err, seen[port])
		}
		seen[port] = true
		l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if mark, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}); err == nil {
			_ = mark.Close()
			t.Fatalf("another process could be given port %d", port)
		}
	}
}
