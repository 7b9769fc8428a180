package enricher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/failpoint"
)

// Deaths at one frame after which it is answered with care, and event by event.
const (
	carefulFrom = 2
	isolateFrom = 3
)

// maxDeadly bounds the deadly events that are remembered.
const maxDeadly = 256

// crashRecord survives the process. Whoever takes a shard over notes the frame
// it begins with; who finds its own first frame in there, written by another
// process, knows that one to have died without answering it.
type crashRecord struct {
	Seq     uint64 `json:"seq"`
	Count   int    `json:"count"` // owners that began with Seq
	Process string `json:"process"`
	// Idx is the event at hand of a frame that is answered event by event, -1
	// before the first. An event at which processes died twice is deadly: one
	// death may be the kill of an innocent.
	Idx     int `json:"idx"`
	Suspect int `json:"suspect"`
	// Deadly events are never read again, not even to read the window back.
	Deadly []place `json:"deadly,omitempty"`
}

// crashLog keeps the record of one shard. It is a help and no fence: two
// owners at once may confuse it, which costs time but no event.
type crashLog struct {
	kv      jetstream.KeyValue
	key     string
	process string // random, one a process
	record  crashRecord
}

// begin notes that an owner begins with seq, having read RAW back from window.
// Without a frame waiting there is nothing to die of.
func (c *crashLog) begin(ctx context.Context, seq, window uint64, waiting bool) error {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	var old crashRecord
	entry, err := c.kv.Get(ctx, c.key)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
	case err != nil:
		return fmt.Errorf("read %s: %w", c.key, err)
	case json.Unmarshal(entry.Value(), &old) != nil:
		old = crashRecord{} // it only helps; without it counting starts anew
	}
	died := old.Seq == seq && old.Process != c.process
	c.record = crashRecord{Seq: seq, Process: c.process, Idx: -1, Suspect: -1, Deadly: old.Deadly}
	if old.Seq == seq {
		c.record.Count, c.record.Suspect = old.Count, old.Suspect
	}
	if died && old.Count >= isolateFrom && old.Idx >= 0 {
		if old.Idx == old.Suspect {
			c.record.Deadly = append(c.record.Deadly, place{seq, old.Idx})
		}
		c.record.Suspect = old.Idx
	}
	c.record.Deadly = slices.DeleteFunc(c.record.Deadly, func(p place) bool { return p.Seq < window })
	c.record.Deadly = c.record.Deadly[max(0, len(c.record.Deadly)-maxDeadly):]
	if waiting && (died || c.record.Count == 0) {
		c.record.Count++
	}
	return c.write(ctx)
}

// careful is the number of frames to answer one at a time, so that the one
// that kills is known exactly.
func (c *crashLog) careful() int {
	if c.record.Count >= carefulFrom {
		return maxFlying
	}
	return 0
}

func (c *crashLog) deadly() map[place]bool {
	all := map[place]bool{}
	for _, p := range c.record.Deadly {
		all[p] = true
	}
	return all
}

// isolate returns what to do before each event of a frame: nothing, or if too
// many died at it, to note the event's index first.
func (c *crashLog) isolate(ctx context.Context, seq uint64) func(idx int) {
	if c.record.Seq != seq || c.record.Count < isolateFrom {
		return nil
	}
	return func(idx int) {
		c.record.Idx = idx
		var wait delay
		for c.write(ctx) != nil && wait.sleep(ctx) {
		}
	}
}

// left notes that the owner went in order, before it answered next.
func (c *crashLog) left(ctx context.Context, next uint64) error {
	if c.record.Seq != next || c.record.Count == 0 {
		return nil
	}
	c.record.Idx = -1
	if c.record.Count < isolateFrom {
		c.record.Count = 0
	}
	return c.write(ctx)
}

func (c *crashLog) write(ctx context.Context) error {
	text, err := json.Marshal(c.record)
	if err == nil {
		failpoint.At(failpoint.EnricherCrashLogBefore)
		_, err = c.kv.Put(ctx, c.key, text)
		failpoint.At(failpoint.EnricherCrashLogAfter)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", c.key, err)
	}
	return nil
}
