// Package event is the domain: what an event is, which bytes are one, and
// which bytes are refused and why.
//
// Its place in the flow: a door decompresses a request body ([Decompressor]),
// cuts it into events ([Splitter]), reads each of them ([Scanner]), gives those
// without a message id one ([NewID], [DerivedID], [KeyedID]) and picks the lane
// they travel in ([ShardOf]). The enricher reads the same bytes with the same
// Scanner, so that door and enricher can never disagree about an event. Bodies
// in the words of other systems are taken apart with a [Cursor] before that.
//
// Invariants: nothing is handed out from a body that cannot be read; an event
// that is accepted is valid JSON (RFC 8259) in valid UTF-8, within [Limits],
// and names a user; every other event is refused with one [Reason] of a closed
// set, and its original bytes stay as they came. Reading an event allocates
// nothing once the buffers have grown, and no input makes the package panic or
// recurse deeper than two calls.
package event
