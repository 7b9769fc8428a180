// Package proxy is a TCP proxy that breaks the network between two processes
// on demand. It knows no protocol and needs no test: the fault laboratory runs
// it as it is, a test takes it from testkit.StartProxy.
//
// Without a fault bytes are copied at the speed of the machine, and the ends of
// a connection pass through as they are, a half close too. Every fault can be
// set and lifted while connections live, and is in force for all bytes that are
// sent after the call has returned.
//
// What holds under every fault: bytes of one direction never change, overtake
// each other or appear twice, and the end of a direction waits behind its
// bytes. So what a client wrote into a stalled network before it gave up still
// arrives when the stall is lifted, as the packets of a dead process do.
//
// It was written because github.com/Shopify/toxiproxy/v2 (v2.5.0, tried as a
// library) ends a connection when a stall is lifted, resets no connection that
// is open already, does not keep half closes even without a toxic, cannot lose
// a reply, and takes its toxics as JSON from an API server that brings zerolog,
// gorilla/mux and Prometheus.
package proxy
