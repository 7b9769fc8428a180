package bus

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Totals counts events of one shard. In = Rows + Dead + Repeats + Lost.
type Totals struct {
	In      uint64 `json:"in"`
	Rows    uint64 `json:"rows"`
	Dead    uint64 `json:"dead"`
	Repeats uint64 `json:"repeats"`
	// Lost counts events that `millrace recover` found to be gone. It stays in
	// the running totals for ever: a loss must not look as if nothing happened.
	Lost uint64 `json:"lost,omitempty"`
}

// Adds says whether the parts make the sum.
func (t Totals) Adds() bool { return t.In == t.Rows+t.Dead+t.Repeats+t.Lost }

// Plus is the sum of two totals.
func (t Totals) Plus(o Totals) Totals {
	return Totals{t.In + o.In, t.Rows + o.Rows, t.Dead + o.Dead, t.Repeats + o.Repeats, t.Lost + o.Lost}
}

// Range is frames of one shard, First to Last, and what they hold.
type Range struct {
	Shard  int    `json:"shard"`
	First  uint64 `json:"first"`
	Last   uint64 `json:"last"`
	Totals Totals `json:"totals"` // Rows includes the excluded
}

// Exclusion is a row that ClickHouse refused for its content: it leaves the
// block and becomes a dead letter.
type Exclusion struct {
	Shard int    `json:"shard"`
	Seq   uint64 `json:"seq"`
	Idx   uint32 `json:"idx"`
	Why   int    `json:"why"` // index into Intent.Whys
}

// Intent is one block that is about to be inserted: frames of some of a
// sink's shards.
type Intent struct {
	Ranges []Range `json:"ranges"` // one a shard, ascending by shard
	// Attempt grows when the server took the token but not the rows.
	Attempt  int         `json:"attempt"`
	Excluded []Exclusion `json:"excluded,omitempty"`
	// Whys are the distinct errors that ClickHouse gave for them.
	Whys []string `json:"whys,omitempty"`
}

// Rows is the number of rows of the block, the excluded left out.
func (i *Intent) Rows() uint64 {
	n := uint64(0)
	for _, r := range i.Ranges {
		n += r.Totals.Rows
	}
	return n - uint64(len(i.Excluded))
}

// Proof says how far one shard is: the rows of its frames up to Proven are in
// ClickHouse, and Totals counts them.
type Proof struct {
	Shard  int    `json:"shard"`
	Proven uint64 `json:"proven"`
	Totals Totals `json:"totals"`
}

// Record is one message of the ledger. The newest one of a sink is its whole
// state: how far each of its shards is proven, and Open, if set, is the one
// block whose fate may be unknown.
type Record struct {
	Incarnation uint64    `json:"incarnation"`
	Sink        int       `json:"sink"`
	Shards      []Proof   `json:"shards"` // all of the sink, ascending
	Open        *Intent   `json:"open,omitempty"`
	Owner       string    `json:"owner"`
	At          time.Time `json:"at"`
	// Recovered is set in a record by which `millrace recover` begins a new
	// incarnation; its Shards were counted then and follow from nothing before.
	Recovered []Recovered `json:"recovered,omitempty"`
	// Revision is the record's sequence in the LEDGER stream, known once it
	// is stored.
	Revision uint64 `json:"-"`
}

// maxToken is what a token may have; ClickHouse keeps the newest thousands of
// them in memory.
const maxToken = 255

// Token names the open block for ClickHouse's insert deduplication. It names
// the life of the streams, the exact ranges and the attempt, because the server
// compares tokens and never rows. The ranges of many shards are hashed.
func (r *Record) Token() string {
	var ranges []byte
	for _, x := range r.Open.Ranges {
		if len(ranges) > 0 {
			ranges = append(ranges, ',')
		}
		ranges = fmt.Appendf(ranges, "%d.%d-%d", x.Shard, x.First, x.Last)
	}
	token := func(ranges []byte) string {
		return fmt.Sprintf("%d:%d:%s:%d:%d", r.Incarnation, r.Sink, ranges, r.Open.Attempt, len(r.Open.Excluded))
	}
	if whole := token(ranges); len(whole) <= maxToken {
		return whole
	}
	return token(fmt.Appendf(nil, "%x", sha256.Sum256(ranges)))
}

// After is how far the sink's shards are once the open block is proven: rows
// that ClickHouse refused are dead letters.
func (r *Record) After() []Proof {
	after := slices.Clone(r.Shards)
	if r.Open == nil {
		return after
	}
	for i := range after {
		p := &after[i]
		share := r.Share(p.Shard)
		if share.Open == nil {
			continue
		}
		p.Proven, p.Totals = share.Open.Last, share.After()
	}
	return after
}

// Share is what a record says of one shard of its sink.
type Share struct {
	Proof
	Incarnation uint64
	Revision    uint64
	Open        *Range      // nil when the open block has no frame of the shard, or none is open
	Excluded    []Exclusion // of those frames
	Recovered   *Recovered  // nil unless the record begins an incarnation
	At          time.Time
}

// Share is the part of a shard; that of a shard that the record does not name
// is empty.
func (r *Record) Share(shard int) Share {
	s := Share{Proof: Proof{Shard: shard}, Incarnation: r.Incarnation, Revision: r.Revision, At: r.At}
	for i := range r.Recovered {
		if r.Recovered[i].Shard == shard {
			s.Recovered = &r.Recovered[i]
		}
	}
	for _, p := range r.Shards {
		if p.Shard == shard {
			s.Proof = p
		}
	}
	if r.Open == nil {
		return s
	}
	for i := range r.Open.Ranges {
		if r.Open.Ranges[i].Shard == shard {
			s.Open = &r.Open.Ranges[i]
		}
	}
	for _, x := range r.Open.Excluded {
		if x.Shard == shard {
			s.Excluded = append(s.Excluded, x)
		}
	}
	return s
}

// Known is the last frame that the ledger knows: announced or proven.
func (s *Share) Known() uint64 {
	if s.Open != nil {
		return s.Open.Last
	}
	return s.Proven
}

// After is the shard's totals once the open block is proven.
func (s *Share) After() Totals {
	if s.Open == nil {
		return s.Totals
	}
	sum := s.Totals.Plus(s.Open.Totals)
	sum.Rows -= uint64(len(s.Excluded))
	sum.Dead += uint64(len(s.Excluded))
	return sum
}

var (
	// ErrFenced says that another owner has written to the ledger: stop at once.
	ErrFenced = errors.New("bus: another owner has written this sink's ledger")
	// ErrOldLedger says that the installation or its ledger is of a Millrace
	// that kept a ledger for each shard. It cannot be read, nor carried over.
	ErrOldLedger = errors.New("bus: the ledger is of an older Millrace, which this one cannot read: begin with new streams and tables")
)

// codeWrongLastSequence is JetStream's refusal of a compare-and-set.
const codeWrongLastSequence jetstream.ErrorCode = 10071

// IsFenced says whether JetStream refused a publish because its expected last
// sequence was not the last one.
func IsFenced(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && api.ErrorCode == codeWrongLastSequence
}

// LedgerLast reads the newest record of a sink; ok is false when there is
// none. With an error of one that cannot be read comes its Revision, behind
// which a recovery begins anew.
func LedgerLast(ctx context.Context, ledger jetstream.Stream, names Names, sink int) (rec Record, ok bool, err error) {
	msg, err := ledger.GetLastMsgForSubject(ctx, names.Ledger(sink))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return Record{}, false, nil
	}
	if err != nil {
		return Record{}, false, fmt.Errorf("read the ledger of sink %d: %w", sink, err)
	}
	rec, err = DecodeRecord(msg.Data)
	rec.Revision = msg.Sequence
	return rec, err == nil, err
}

// DecodeRecord reads the body of a ledger message. One that names no shards is
// refused with [ErrOldLedger]: read as if it were of a sink it would say that
// nothing is proven.
func DecodeRecord(data []byte) (Record, error) {
	var rec Record
	if err := json.Unmarshal(data, &rec); err != nil {
		return Record{}, fmt.Errorf("ledger record %q: %w", data, err)
	}
	if len(rec.Shards) == 0 {
		return Record{}, fmt.Errorf("ledger record %q names no shards: %w", data, ErrOldLedger)
	}
	return rec, nil
}

// LedgerAppend stores rec if the sink's newest record is still the one at
// revision expect (0: none), and sets rec.Revision. A refusal is ErrFenced. An
// unknown outcome (a lost reply) is resolved by reading back: a record that is
// equal counts as stored.
func LedgerAppend(ctx context.Context, js jetstream.JetStream, ledger jetstream.Stream, names Names, rec *Record, expect uint64) error {
	body, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("encode ledger record: %w", err)
	}
	// By hand, because the client's options can be read by the client only, and
	// the indexer's model stands in for NATS.
	msg := &nats.Msg{Subject: names.Ledger(rec.Sink), Data: body, Header: nats.Header{
		jetstream.ExpectedLastSubjSeqHeader: {strconv.FormatUint(expect, 10)},
	}}
	ack, err := js.PublishMsg(ctx, msg)
	if err == nil {
		rec.Revision = ack.Sequence
		return nil
	}
	last, readErr := ledger.GetLastMsgForSubject(ctx, msg.Subject)
	switch {
	case readErr == nil && string(last.Data) == string(body):
		rec.Revision = last.Sequence
		return nil
	case IsFenced(err), readErr == nil && last.Sequence != expect:
		return fmt.Errorf("%w: sink %d", ErrFenced, rec.Sink)
	}
	return fmt.Errorf("append to the ledger of sink %d: %w", rec.Sink, err)
}
