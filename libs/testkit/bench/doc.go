// Command bench measures Millrace as a whole and prints what the README
// quotes: events a second, CPU-seconds per million events, memory, latency.
//
//	bench [--parts way-nats,latency] ...   measures; `make bench` calls it
//	bench compare A.json B.json            two reports side by side
//	bench plot REPORT.json                 the growth curves as SVG
//
// Every run is a fresh installation in a temporary directory: `millrace up`
// (up.go), or every service, NATS and ClickHouse a process of its own
// (split.go). Events are made before the clock starts (generate.go), go in
// through a door (publish.go, post.go) and the clock stops when all of them
// are rows (ask.go). CPU and memory are the kernel's counts of the processes
// that are measured (usage.go), the merges that the rows caused included. The
// generator shares the machine and is not counted.
//
// Invariant: a run's figures exist only if each of its events was found in
// ClickHouse exactly once.
//
// A machine that others use is not the same at all times, so a fixed piece of
// work is timed before and after each run (machine.go); runs on a machine that
// was much faster or slower than usual are marked.
package main
