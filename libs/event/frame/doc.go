// Package frame is the codec of what travels between the services: a JetStream
// message that holds one or more events of one shard.
//
// The body of every frame, in RAW and in ENRICHED, is one ClickHouse Native
// block (the format that `FORMAT Native` reads and writes) compressed as one
// snappy block. So any NATS client can read a frame with two libraries it can
// find in its language, or with `clickhouse local --input-format Native`; and
// the indexer turns many frames into one insert by concatenating the bytes of
// their columns, without decoding a row.
//
// Invariants: a block is decoded only when every column has the name and type
// of the schema and every length adds up to the last byte, so that a damaged
// frame can never shift the columns of its neighbours; decoded slices alias
// the input. Nothing here allocates per event once buffers have grown.
package frame
