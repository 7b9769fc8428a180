// Package tail keeps in memory what ClickHouse may not have yet: the frames of ENRICHED above the watermark of each shard,
// found by user; and some of those below it, for who reads the stream as it comes.
//
//	ENRICHED_<shard> -> one follower a shard -> frames in order -> hook, then Await, Rows, Subscription
//
// The seam. [Tail.Pin] notes the watermark w of every shard. Until the pin is released no frame above w is let go, so a
// question answers from ClickHouse with `_seq <= w` and from [Pin.Rows] above it: no row twice, none missing. A frame that
// had to be let go all the same, because the tail was over its budget, is named by [Pin.Lacks].
//
// Invariants: frames of a shard are taken in the order of their sequence, each once; the hook has seen a frame before
// anybody who waits for it is woken; frames never change.
package tail
