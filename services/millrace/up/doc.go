// Package up is `millrace up`: a whole installation in one process.
//
//	lock the directory -> check the ports -> NATS (in process) and ClickHouse (a child)
//	  -> tables and streams -> query, indexer, enricher, ingester -> ready
//
// Everything that it keeps is below one directory:
//
//	lock            held while it runs; the process id of the holder
//	secrets.json    write keys and ClickHouse passwords, made once (0600)
//	ready.json      the addresses, while it is ready (0600)
//	nats/           JetStream: the streams
//	clickhouse/     the tables, the engine's log
//
// The services are the same as in production and meet only through NATS and
// ClickHouse; what is special here is that somebody has to start, watch and
// stop those two.
//
// Guarantee: what was acknowledged survives kill -9 of this process, of the
// ClickHouse child and of both; the next start on the directory goes on where
// it ended. When told to stop, the door closes first and everything that was
// taken is given time to become rows. No child outlives the process for more
// than a moment.
package up
