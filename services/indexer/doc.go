// Package indexer brings enriched frames into ClickHouse, each row exactly
// once:
//
//	ENRICHED_<shard> -> indexer -> table events
//
// The unit of its work is the sink: a fixed set of shards with one lease and one
// ledger. The shards of a sink are read side by side, and their frames go into
// ClickHouse together, because an insert costs the same however few rows it has.
// The indexer collects frames into one large block, writes its intent to the
// ledger by compare-and-set, inserts the block with a deduplication token, and
// moves on once the rows are proven to be there. The token alone is not a proof:
// ClickHouse notes a token before it puts the rows in place, so a kill between
// the two would swallow the repeat. After any doubt the indexer counts what is
// in the table and repairs it.
//
// Guarantee: the rows of frames 1..Proven of each shard in the newest ledger
// record are in ClickHouse, each once, and nothing of a later frame is except
// what the open intent names. Ownership by lease only divides the work; the
// ledger is the fence. A shard whose own logs or frames are wrong is shut alone,
// unless the open intent names frames of it: then its sink waits.
//
// The files follow the event: reader.go and shard.go, batch.go, pace.go,
// sink.go, commit.go, insert.go, bisect.go, deadletters.go, trim.go; takeover.go
// and check.go are what must hold before a sink and a shard open, deadlane.go
// brings dead letters to ClickHouse.
package indexer
