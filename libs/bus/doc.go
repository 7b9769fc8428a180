// Package bus is how the services talk: JetStream subjects, streams, headers,
// the ledger and the leases by which shards are shared out.
//
// topology.go is the only file that knows a subject, a stream or a durable.
// Invariants: streams are created and checked in one place (provision.go), so
// that no service runs over a stream that could forget (see schemas/streams);
// the ledger is appended by compare-and-set alone; leases only divide work and
// are never a fence.
//
// A shard is a lane of frames; a sink inserts the rows of a fixed set of shards
// and has one ledger for them.
//
// Guarantee: of two owners of a sink, paused or doubled, one at most appends to
// its ledger; the other is told with [ErrFenced] and has written nothing.
package bus
