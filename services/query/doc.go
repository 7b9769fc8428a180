// Package query answers questions about what the other services brought into ClickHouse:
//
//	POST /v1/sql -> ClickHouse's HTTP interface, as a user that can only SELECT: see packages access, sqlgate, reader
//	LEDGER       -> the watermark of each shard, for ?after=<receipt> and GET /v1/status
//	everything   -> POST /v1/verify, which counts the whole way of the events against itself
//	ENRICHED     -> GET /v1/live and millrace.live.<source>: events as they happen, see package live
//	everything   -> POST /mcp, the questions as tools for a model: the same handlers, see package mcp
//	NATS         -> millrace.query.<endpoint>: the same handlers as over HTTP, see package natsdoor
//
// Invariants: the SQL of a client runs as a reader user and never as anybody else, and sees the sources of its key only; a result that was cut short never
// ends like a whole one; nothing here writes to ClickHouse, and of what is kept in NATS only the lease of the one that
// publishes live events, so any number of query services may run.
//
// Guarantee: an answer to a question with after=<receipt> includes every row of that receipt, because the sink's ledger
// said so before the question was asked.
//
// Files: server.go and guard.go let a request in, after.go and watermark.go make it wait; status.go and gap.go say how far each shard is; verify*.go reconcile. All SQL of our own is in sql.go.
package query
