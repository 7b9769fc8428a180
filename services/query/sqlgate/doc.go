// Package sqlgate is the one gate through which questions reach ClickHouse, and the SQL that people may send through it:
//
//	POST   /v1/sql              one statement, its result passed on in pieces; with Accept: text/event-stream, rows and
//	                            progress as server-sent events
//	DELETE /v1/sql/{id}         ends a question that runs
//	GET    /v1/queries          the named queries: files of SQL that the operator keeps in a directory
//	GET    /v1/queries/{name}   one of them, with its parameters
//	GET    /openapi.json        the contract of the service, the named queries among its paths
//
// [Gate.Ask] is what reports and others go through too: it runs a statement as the key of the request and lets it see the
// key's sources only, holds the key's quota and the service's places, ends it in time, and lets it be cancelled.
//
// Invariants: the SQL of a client runs as a reader user and never as anybody else; a result that was cut short never ends
// like a whole one; nothing here writes to ClickHouse.
//
// Files: gate.go and running.go run a question; request.go, format.go and keptout.go let one in; serve.go and
// events.go answer; named.go, catalogue.go, servenamed.go and openapi.go are the named queries.
package sqlgate
