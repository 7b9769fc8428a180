// Package indexer brings enriched frames into ClickHouse, each row exactly
// once:
//
//	ENRICHED_<shard> -> indexer -> table events
//
// For every shard it owns it collects frames into one large block, writes its
// intent to the ledger by compare-and-set, inserts the block with a
// deduplication token, and moves on once the rows are proven to be there. The
// token alone is not a proof: ClickHouse notes a token before it puts the rows
// in place, so a kill between the two would swallow the repeat. After any
// doubt the indexer counts what is in the table and repairs it.
//
// Guarantee: the rows of frames 1..Proven of the newest ledger record are in
// ClickHouse, each once, and nothing of a later frame is except what the open
// intent names. Ownership by lease only divides the work; the ledger is the
// fence.
//
// The files follow the event: reader.go, batch.go, commit.go, insert.go,
// reconcile.go, bisect.go, trim.go; takeover.go is what must hold before a
// shard opens, deadlane.go brings dead letters to ClickHouse.
package indexer
