package recovery

import (
	"time"

	"github.com/millrace/millrace/libs/bus"
)

// What a recovery does.
const (
	DoNothing = "nothing" // everything agrees
	DoMend    = "mend"    // rows or dead letters are missing, and the streams hold all of them
	DoMove    = "move"    // a new incarnation
)

// Report says what was found, and what is to be done or was done.
type Report struct {
	Do string `json:"do"`
	// Unfinished: an earlier run had decided and was ended before it was done.
	Unfinished  bool          `json:"unfinished,omitempty"`
	Applied     bool          `json:"applied"`
	Incarnation uint64        `json:"incarnation"`    // found; 0 when no stream tells
	Next        uint64        `json:"next,omitempty"` // of a move
	Problems    []string      `json:"problems"`       // of no single shard
	Shards      []ShardReport `json:"shards"`
	In          InReport      `json:"in"`
	At          time.Time     `json:"at"`
	File        string        `json:"file,omitempty"` // where this was written
}

// Lost is what is gone for good, of all shards.
func (r *Report) Lost() (events, unknownFrames uint64) {
	for i := range r.Shards {
		events += r.Shards[i].Lost
		unknownFrames += r.Shards[i].Unknown
	}
	return events, unknownFrames
}

// Extent is what a stream holds; Missing when it does not exist.
type Extent struct {
	First    uint64 `json:"first"`
	Last     uint64 `json:"last"`
	Messages uint64 `json:"messages"`
	Missing  bool   `json:"missing,omitempty"`
}

// InReport is the NATS door.
type InReport struct {
	Extent
	Acknowledged uint64 `json:"acknowledged"` // by the ingesters, up to here
	Waiting      uint64 `json:"waiting"`
}

// ShardReport is what was found of one shard and what comes of it.
type ShardReport struct {
	Shard    int      `json:"shard"`
	Problems []string `json:"problems"`

	Raw      Extent `json:"raw"`
	Enriched Extent `json:"enriched"`
	// The ledger: what is proven, announced, counted, and in which incarnation;
	// all 0 when it has no record.
	Proven            uint64     `json:"proven"`
	Known             uint64     `json:"known"`
	Totals            bus.Totals `json:"totals"`
	LedgerIncarnation uint64     `json:"ledger_incarnation"`
	// ClickHouse.
	Rows    uint64 `json:"rows"`    // each place once
	Doubled uint64 `json:"doubled"` // rows beyond that
	RowsTo  uint64 `json:"rows_to"` // the highest frame
	Dead    uint64 `json:"dead"`    // events of dead letters
	DeadTo  uint64 `json:"dead_to"` // the highest frame

	// What is to be done.
	Insert        uint64 `json:"insert"`         // rows that ENRICHED holds and ClickHouse lacks
	InsertProven  uint64 `json:"insert_proven"`  // of them, of frames that were proven
	Letters       uint64 `json:"letters"`        // dead letters that ClickHouse lacks
	LettersProven uint64 `json:"letters_proven"` // of them, that were acknowledged as being there
	Renumber      uint64 `json:"renumber"`       // rows whose place is taken: inserted at a free one
	Again         uint64 `json:"again"`          // events that are appended to RAW once more
	AgainFrames   uint64 `json:"again_frames"`
	AgainProven   uint64 `json:"again_proven"` // of them, that had been proven
	Found         uint64 `json:"found"`        // events without an answer whose rows are there already

	// What is gone.
	Lost          uint64      `json:"lost"` // events
	LostRows      uint64      `json:"lost_rows"`
	LostLetters   uint64      `json:"lost_letters"`
	LostRanges    [][2]uint64 `json:"lost_ranges,omitempty"` // frames among which they were, as far as the ledger tells
	Unknown       uint64      `json:"unknown"`               // frames that were numbered and of which nothing is left
	UnknownRanges [][2]uint64 `json:"unknown_ranges,omitempty"`

	Highest uint64 `json:"highest"`          // number that was found anywhere
	Begins  uint64 `json:"begins,omitempty"` // a move: the first number of new frames

	repeats uint64 // of frames that were not proven
}
