package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Totals counts events of one shard. In = Rows + Dead + Repeats.
type Totals struct {
	In      uint64 `json:"in"`
	Rows    uint64 `json:"rows"`
	Dead    uint64 `json:"dead"`
	Repeats uint64 `json:"repeats"`
}

// Plus is the sum of two totals.
func (t Totals) Plus(o Totals) Totals {
	return Totals{t.In + o.In, t.Rows + o.Rows, t.Dead + o.Dead, t.Repeats + o.Repeats}
}

// Exclusion is a row that ClickHouse refused for its content: it leaves the
// block and becomes a dead letter.
type Exclusion struct {
	Seq uint64 `json:"seq"`
	Idx uint32 `json:"idx"`
	Why int    `json:"why"` // index into Intent.Whys
}

// Intent is one block that is about to be inserted: the frames First..Last of
// a shard and what they hold.
type Intent struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
	// Attempt grows when the server took the token but not the rows.
	Attempt  int         `json:"attempt"`
	Totals   Totals      `json:"totals"` // of the frames; Rows includes the excluded
	Excluded []Exclusion `json:"excluded,omitempty"`
	// Whys are the distinct errors that ClickHouse gave for them.
	Whys []string `json:"whys,omitempty"`
}

// After is the shard's totals once the open block is proven: rows that
// ClickHouse refused are dead letters.
func (i *Intent) After(before Totals) Totals {
	sum := before.Plus(i.Totals)
	sum.Rows -= uint64(len(i.Excluded))
	sum.Dead += uint64(len(i.Excluded))
	return sum
}

// Record is one message of the ledger. The newest one of a shard is its whole
// state: everything up to Proven is in ClickHouse, Totals counts it, and Open,
// if set, is the one block whose fate may be unknown.
type Record struct {
	Incarnation uint64    `json:"incarnation"`
	Shard       int       `json:"shard"`
	Proven      uint64    `json:"proven"`
	Totals      Totals    `json:"totals"`
	Open        *Intent   `json:"open,omitempty"`
	Owner       string    `json:"owner"`
	At          time.Time `json:"at"`
	// Revision is the record's sequence in the LEDGER stream, known once it
	// is stored.
	Revision uint64 `json:"-"`
}

// Token names the open block for ClickHouse's insert deduplication. It names
// the life of the streams, the exact range and the attempt, because the server
// compares tokens and never rows.
func (r *Record) Token() string {
	return fmt.Sprintf("%d:%d:%d-%d:%d:%d", r.Incarnation, r.Shard, r.Open.First, r.Open.Last, r.Open.Attempt, len(r.Open.Excluded))
}

// ErrFenced says that another owner has written to the ledger: stop at once.
var ErrFenced = errors.New("bus: another owner has written this shard's ledger")

// codeWrongLastSequence is JetStream's refusal of a compare-and-set.
const codeWrongLastSequence jetstream.ErrorCode = 10071

// IsFenced says whether JetStream refused a publish because its expected last
// sequence was not the last one.
func IsFenced(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && api.ErrorCode == codeWrongLastSequence
}

// LedgerLast reads the newest record of a shard; ok is false when there is
// none.
func LedgerLast(ctx context.Context, ledger jetstream.Stream, names Names, shard int) (rec Record, ok bool, err error) {
	msg, err := ledger.GetLastMsgForSubject(ctx, names.Ledger(shard))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return Record{}, false, nil
	}
	if err != nil {
		return Record{}, false, fmt.Errorf("read the ledger of shard %d: %w", shard, err)
	}
	rec, err = DecodeRecord(msg.Data)
	if err != nil {
		return Record{}, false, err
	}
	rec.Revision = msg.Sequence
	return rec, true, nil
}

// DecodeRecord reads the body of a ledger message.
func DecodeRecord(data []byte) (Record, error) {
	var rec Record
	if err := json.Unmarshal(data, &rec); err != nil {
		return Record{}, fmt.Errorf("ledger record %q: %w", data, err)
	}
	return rec, nil
}

// LedgerAppend stores rec if the shard's newest record is still the one at
// revision expect (0: none), and sets rec.Revision. A refusal is ErrFenced. An
// unknown outcome (a lost reply) is resolved by reading back: a record that is
// equal counts as stored.
func LedgerAppend(ctx context.Context, js jetstream.JetStream, ledger jetstream.Stream, names Names, rec *Record, expect uint64) error {
	body, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("encode ledger record: %w", err)
	}
	msg := &nats.Msg{Subject: names.Ledger(rec.Shard), Data: body}
	ack, err := js.PublishMsg(ctx, msg, jetstream.WithExpectLastSequencePerSubject(expect))
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
		return fmt.Errorf("%w: shard %d", ErrFenced, rec.Shard)
	}
	return fmt.Errorf("append to the ledger of shard %d: %w", rec.Shard, err)
}
