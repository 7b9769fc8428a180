// Command bench measures Millrace as a whole and prints what the README
// quotes: events a second and CPU-seconds per million events of the whole way
// (door, NATS, enricher, indexer, ClickHouse with its merges), the latency of
// the HTTP door, and the time from an acknowledgement to a visible row.
//
// It starts bin/millrace up as a process of its own in a temporary directory,
// sends it generated events, and checks after each run that every one of them
// arrived exactly once: a figure of a run that lost or doubled an event is not
// printed. CPU is user and system time of `up` and its ClickHouse child from
// /proc; the generator's own is left out.
//
//	make bench                       # everything, three runs, medians
//	make bench BENCH=nats,latency    # parts
package main
