package importer

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/services/millrace/client"
)

// Refusal is one line that did not become a row.
type Refusal struct {
	Place  Place  `json:"-"`
	At     string `json:"at"` // file:line
	Reason string `json:"reason"`
}

// refusalsShown bounds how many are kept; the counts count all.
const refusalsShown = 10

// Summary counts lines: Lines = Accepted + Rejected + Declared + Unsendable,
// unless the import ended early.
type Summary struct {
	Lines int `json:"lines"` // that are not empty
	// Accepted were taken at the door: rows, or repeats of earlier ones.
	Accepted int `json:"accepted"`
	// Rejected are events that the door refused; each is a dead letter.
	Rejected int `json:"rejected"`
	// Declared are lines that are no event; each is a dead letter, once.
	Declared int `json:"declared"`
	// Unsendable are lines longer than any request; they are nowhere.
	Unsendable int `json:"unsendable"`
	// Refusals are the first of all that are not accepted, by place.
	Refusals []Refusal `json:"refusals,omitempty"`
	// Receipt covers every acknowledged line.
	Receipt string `json:"receipt"`
}

// tally collects a summary from all goroutines of an import.
type tally struct {
	mu      sync.Mutex // guards all below
	sum     Summary
	receipt bus.Receipt
}

func newTally() *tally { return &tally{} }

func (t *tally) line() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sum.Lines++
}

func (t *tally) unsendable(at Place, why error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sum.Unsendable++
	t.refused(at, why.Error())
}

// anyShards lets receipts name whatever shard the installation has.
const anyShards = 1 << 16

func (t *tally) answered(b *batch, a client.Answer) error {
	receipt, err := bus.ParseReceipt(a.Receipt, anyShards)
	if err != nil {
		return fmt.Errorf("the door answered: %w", err)
	}
	if got := a.Accepted + len(a.Rejected); got != len(b.places) {
		return fmt.Errorf("the door answered for %d of the %d events from %s on", got, len(b.places), b.places[0])
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range receipt.Places {
		t.receipt.Add(p)
	}
	if b.refused != "" {
		t.sum.Declared++
		t.refused(b.places[0], b.refused)
		return nil
	}
	t.sum.Accepted += a.Accepted
	t.sum.Rejected += len(a.Rejected)
	for _, r := range a.Rejected {
		if r.Index < 0 || r.Index >= len(b.places) {
			return fmt.Errorf("the door rejected event %d of %d", r.Index, len(b.places))
		}
		reason := r.Reason
		if r.Detail != "" {
			reason += ": " + r.Detail
		}
		t.refused(b.places[r.Index], reason)
	}
	return nil
}

// refused keeps the first by place, although answers come in any order.
func (t *tally) refused(at Place, reason string) {
	t.sum.Refusals = append(t.sum.Refusals, Refusal{at, at.String(), reason})
	slices.SortFunc(t.sum.Refusals, func(a, b Refusal) int {
		return cmp.Or(cmp.Compare(a.Place.File, b.Place.File), cmp.Compare(a.Place.Line, b.Place.Line))
	})
	t.sum.Refusals = t.sum.Refusals[:min(len(t.sum.Refusals), refusalsShown)]
}

func (t *tally) summary() Summary {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sum.Receipt = t.receipt.String()
	return t.sum
}
