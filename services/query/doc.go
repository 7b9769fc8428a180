// Package query answers questions about what the other services brought into ClickHouse:
//
//	POST /v1/sql -> ClickHouse's HTTP interface, as a user that can only SELECT
//	LEDGER       -> the watermark of each shard, for ?after=<receipt> and GET /v1/status
//	everything   -> POST /v1/verify, which counts the whole way of the events against itself
//
// Invariants: the SQL of a client runs as the reader user and never as anybody else; a result that was cut short never
// ends like a whole one; nothing here writes to NATS or to ClickHouse, so any number of query services may run.
//
// Guarantee: an answer to a question with after=<receipt> includes every row of that receipt, because the sink's ledger
// said so before the question was asked.
//
// Files: server.go and guard.go let a request in, after.go and watermark.go make it wait, ask.go, stream.go and clickhouse.go run
// it; status.go and gap.go say how far each shard is; verify*.go reconcile. All SQL of our own is in sql.go.
package query
