package query

import "time"

// Report is the outcome of a reconciliation. Accepted, Rows, Dead and Repeats are the sums over all shards of what the
// ledger has proven, and what was found to agree or not is in Findings.
type Report struct {
	OK       bool   `json:"ok"`
	Accepted uint64 `json:"accepted"`
	Rows     uint64 `json:"rows"`
	Dead     uint64 `json:"dead"`
	Repeats  uint64 `json:"repeats"`
	// Lost counts events that `millrace recover` has declared to be gone: Accepted = Rows + Dead + Repeats + Lost.
	Lost uint64 `json:"lost,omitempty"`
	// Recoveries are what `millrace recover` did, as far as the ledger still holds its records.
	Recoveries []Recovery `json:"recoveries,omitempty"`
	// Pending counts events that were accepted when verify began and were not proven when it stopped waiting.
	Pending  uint64        `json:"pending"`
	Shards   []ShardReport `json:"shards"`
	Findings []Finding     `json:"findings"`
	// Omitted is how many findings there are beyond those that are listed.
	Omitted int       `json:"omitted,omitempty"`
	At      time.Time `json:"at"`
	Seconds float64   `json:"seconds"`
}

// ShardReport is the outcome for one shard.
type ShardReport struct {
	Shard    int    `json:"shard"`
	OK       bool   `json:"ok"`
	Proven   uint64 `json:"proven"` // the frame up to which all was compared
	Accepted uint64 `json:"accepted"`
	Rows     uint64 `json:"rows"`
	Dead     uint64 `json:"dead"`
	Repeats  uint64 `json:"repeats"`
	Lost     uint64 `json:"lost,omitempty"`

	PendingFrames uint64 `json:"pending_frames,omitempty"`
	PendingEvents uint64 `json:"pending_events,omitempty"`
	// Estimated: PendingEvents is, because it is many.
	Estimated bool `json:"estimated,omitempty"`

	// Frames from LedgerFrom were compared by range with the ledger's history, frames from FramesFrom one by one with
	// their verdicts. Older frames are proven by the running totals alone.
	LedgerFrom uint64 `json:"ledger_from,omitempty"`
	FramesFrom uint64 `json:"frames_from,omitempty"`
}

// Recovery is one shard's way from one incarnation to the next.
type Recovery struct {
	Shard       int       `json:"shard"`
	At          time.Time `json:"at"`
	Incarnation uint64    `json:"incarnation"`
	// Highest is the last frame of the life before; new frames came after Proven.
	Highest uint64 `json:"highest"`
	Proven  uint64 `json:"proven"`
	Lost    uint64 `json:"lost"`  // events that had been proven and were gone
	Again   uint64 `json:"again"` // events that were appended once more
	// Unknown counts frames of which nothing was left, between UnknownFirst and UnknownLast.
	Unknown      uint64 `json:"unknown"`
	UnknownFirst uint64 `json:"unknown_first,omitempty"`
	UnknownLast  uint64 `json:"unknown_last,omitempty"`
}

// What a finding is about.
const (
	KindMissing     = "missing"      // rows that should be there are not
	KindDoubled     = "doubled"      // rows are there more than once
	KindSurplus     = "surplus"      // rows are there that no verdict counts
	KindDeadMissing = "dead_missing" // dead letters that should be there are not
	KindDeadSurplus = "dead_surplus" // dead letters are there that no verdict counts
	KindTotals      = "totals"       // the ledger's sums do not add up
	KindLedgerGap   = "ledger_gap"   // the ledger's history is not one chain
	KindHole        = "hole"         // a stream lacks a frame between others
	KindLost        = "lost"         // a frame of RAW was gone before the enricher read it
	KindVerdict     = "verdict"      // a verdict does not fit its frame
	KindForeign     = "foreign"      // a frame of ENRICHED answers another frame than RAW holds
	KindBeyond      = "beyond"       // ClickHouse has rows of frames that nobody announced
	KindWentBack    = "went_back"    // ledger and streams disagree about how far they are, or are of different lives
	KindStuck       = "stuck"        // what was accepted makes no progress
)

// Finding is one thing that does not agree: in the frames First..Last of a shard there should be Expected of it and
// there are Found.
type Finding struct {
	Shard    int    `json:"shard"`
	Kind     string `json:"kind"`
	First    uint64 `json:"first"`
	Last     uint64 `json:"last"`
	Expected uint64 `json:"expected"`
	Found    uint64 `json:"found"`
	Detail   string `json:"detail"`
}

// Progress says how far a reconciliation is.
type Progress struct {
	Shard int    `json:"shard"`
	Step  string `json:"step"` // wait, ledger, frames
	Done  uint64 `json:"done"`
	Of    uint64 `json:"of"`
}

// maxFindings is how many findings a report lists.
const maxFindings = 20

// findings collects what one shard has, neighbours of a kind as one.
type findings struct {
	shard int
	list  []Finding
	more  int // beyond the limit
	limit int
}

func (f *findings) add(kind string, first, last, expected, found uint64, detail string) {
	if n := len(f.list); n > 0 {
		if l := &f.list[n-1]; l.Kind == kind && l.Detail == detail && l.Last+1 == first {
			l.Last, l.Expected, l.Found = last, l.Expected+expected, l.Found+found
			return
		}
	}
	if len(f.list) >= f.limit {
		f.more++
		return
	}
	f.list = append(f.list, Finding{Shard: f.shard, Kind: kind, First: first, Last: last, Expected: expected, Found: found, Detail: detail})
}
