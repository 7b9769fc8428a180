// Package ports finds addresses for servers that tests start as processes, or
// stop and start again.
//
// A port that the kernel chose, for a listener on port 0 or an outgoing
// connection, is anybody's as soon as it is closed: test binaries run beside
// each other, and in the seconds in which a server is down another test's
// server was seen to take its port. Ports of this package are none of the
// kernel's, and no two living processes are given the same one.
package ports

import (
	"errors"
	"math/rand/v2"
	"net"
)

// Least and most of the ports given: below those that kernels choose from
// themselves (Linux begins with 32768, others with 49152), above those of
// well-known servers.
const (
	least = 10_240
	most  = 32_000
)

// reserved keeps the sockets that mark ports as given, until the process ends.
var reserved = make(chan net.PacketConn, most-least)

// Free is a port of the loopback address that nothing listens on. The UDP port
// of the same number, which none of the servers uses, is held as its mark until
// this process ends.
func Free() (int, error) {
	var last error
	for range 1000 {
		port := least + rand.N(most-least)
		ip := net.IPv4(127, 0, 0, 1)
		mark, err := net.ListenUDP("udp4", &net.UDPAddr{IP: ip, Port: port})
		if err != nil {
			last = err
			continue
		}
		l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: ip, Port: port})
		if err != nil {
			last = errors.Join(err, mark.Close())
			continue
		}
		reserved <- mark
		return port, l.Close()
	}
	return 0, last
}

// Two are two free ports, as ClickHouse's HTTP and native protocol need them.
func Two() (a, b int, err error) {
	if a, err = Free(); err == nil {
		b, err = Free()
	}
	return a, b, err
}
