// Command chaos is the fault laboratory: it starts a whole Millrace out of
// processes (two of every service, a NATS server, a ClickHouse, a TCP proxy in
// every connection), sends numbered events through all doors, breaks things
// from a seed, heals them, and counts:
//
//	producers -> [proxy] -> ingester x2 -> [proxy] -> NATS <- [proxy] <- enricher x2, indexer x2, query x2
//	                                                           indexer, query -> [proxy] -> ClickHouse
//
// The verdict needs no argument: what the producers' own records say was
// acknowledged is compared, number by number, with the rows and the dead
// letters that are there, and `verify` must agree. One event lost or doubled,
// or a fault after which nothing moves, is exit status 1.
//
// The files follow a run: command.go, space.go (small disks of its own),
// build.go and broken.go (the programs, and those that are broken on purpose),
// mill.go with process.go, services.go, natsd.go, database.go and backup.go,
// producer.go and impatient.go, deck.go and run.go, strike.go (whether a fault
// has struck), faults_*.go (a kind of fault each), verdict.go, ledger.go,
// trace.go, memory.go, report.go.
package main
