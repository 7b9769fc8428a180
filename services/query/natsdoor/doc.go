// Package natsdoor lets the questions of the query service be asked as NATS requests, and makes the service one that
// `nats micro ls`, `info` and `stats` show:
//
//	millrace.query.<endpoint> -> an HTTP request, in memory -> the same handlers -> the reply
//
// A request is checked, counted and limited by exactly what does so over HTTP: the keys are in the headers Authorization
// or X-Write-Key, the errors are the same problems, with their status in Nats-Service-Error-Code.
//
// What a message says, by endpoint:
//   - where HTTP takes a body (ask, sql) the message is the body, and the parameters of the URL are in the header
//     Millrace-Parameters, written as in a URL;
//   - elsewhere the message is a JSON object of parameters, or empty.
//
// Invariants: a request is answered by one of all query services; each has a goroutine of its own, so a long one holds up
// no other; an answer that does not fit a NATS message is an error that says so, never a part of it.
//
// The discovery is the protocol of NATS services (ADR-32), with the types of nats.go/micro. Its own loop is not used: it
// runs one request of an endpoint at a time.
package natsdoor
