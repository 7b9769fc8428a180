// Package client is the command's side of Millrace's HTTP: the door that takes
// events (the ingester) and the counter that gives answers (the query service).
//
// Guarantee: Post returns an Answer only for a request that the door has
// acknowledged, hence one whose events are durable. Everything that may go away
// by itself (no connection, 429, 502, 503, 504) is tried again with a growing
// delay, never sooner than Retry-After asks, until the client's patience ends.
// A repeat after an unknown outcome is harmless for events that have ids.
package client
