// Package mcp lets programs that think in tools ask questions, by the Model Context Protocol (modelcontextprotocol.io, over
// its official Go SDK):
//
//	POST /mcp -> tools/list: what the key may ask -> tools/call -> the handler of the HTTP port -> an answer that fits
//
// A tool is a request to a path of the query port, written with JSON arguments; its schema is made of the catalogue of the
// reports and of the named queries, so that there is nothing to keep in step. Files: tools.go says which tools there are,
// schema.go and arguments.go what they take, call.go and recorder.go ask, result.go and rows.go answer.
//
// Invariants. Nothing is asked of ClickHouse, of the streams or of the users but by the handler of HTTP, with the headers
// of the key that came: keys, scopes, sources, quotas and errors are those of HTTP, since they are it. No tool writes. No
// session is kept: any query service answers any request.
//
// Guarantee: an answer has at most [MaxBytes] and, of rows, as many as were asked for; one of which something was left out
// says so, and one that was cut short by a fault is an error.
package mcp
