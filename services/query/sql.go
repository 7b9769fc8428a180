package query

import (
	"encoding/binary"

	"github.com/millrace/millrace/libs/event/frame"
)

// Every statement of our own. They run as the reader, in its database; results are RowBinary with the types that the
// casts name.

const (
	tableEvents = "events"
	// The log and not the view over it: the copies of a dead letter are told apart here by its place.
	tableDead = "dead_letters_log"
)

var (
	colShard = frame.Columns[frame.ColShard].Name
	colSeq   = frame.Columns[frame.ColSeq].Name
	colIdx   = frame.Columns[frame.ColIdx].Name
)

// ofShard are the rows of a shard's frames from..to.
var ofShard = " WHERE " + colShard + " = {shard:UInt16} AND " + colSeq + " BETWEEN {from:UInt64} AND {to:UInt64} "

// sqlSpread counts the rows of a table in buckets of {width} frames: UInt64 bucket, UInt64 rows.
func sqlSpread(table string) string {
	return "SELECT intDiv(" + colSeq + ", {width:UInt64}) AS bucket, count() AS n FROM " + table + ofShard +
		"GROUP BY bucket ORDER BY bucket"
}

// sqlFrames counts the rows of each frame: UInt64 frame, UInt64 rows, UInt64 distinct rows, UInt32 highest index.
var sqlFrames = "SELECT " + colSeq + ", count(), uniqExact(" + colIdx + "), max(" + colIdx + ") FROM " + tableEvents + ofShard +
	"GROUP BY " + colSeq + " ORDER BY " + colSeq

// sqlDead lists dead letters, each once: UInt64 frame, UInt32 index, UInt32 events, UInt8 whether ClickHouse had refused
// the row.
var sqlDead = "SELECT " + colSeq + ", " + colIdx + ", max(events), max(stage = 'indexer') FROM " + tableDead + ofShard +
	"GROUP BY " + colSeq + ", " + colIdx + " ORDER BY " + colSeq + ", " + colIdx

// sqlHighest is the highest frame of a shard that has a row: UInt64.
var sqlHighest = "SELECT max(" + colSeq + ") FROM " + tableEvents + " WHERE " + colShard + " = {shard:UInt16}"

// le64 and le32 read numbers of RowBinary.
func le64(row []byte) uint64 { return binary.LittleEndian.Uint64(row) }
func le32(row []byte) uint32 { return binary.LittleEndian.Uint32(row) }
