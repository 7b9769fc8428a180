package indexer

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/eventdb"
	"github.com/millrace/millrace/libs/failpoint"
)

func isContent(err error) bool { return eventdb.Classify(err) == eventdb.Content }

// whyText is the part of ClickHouse's error that a person needs: so much of it
// as takes maxWhy bytes in the ledger's JSON, where a character may take six.
func whyText(err error) string {
	text := strings.ToValidUTF8(strings.Join(strings.Fields(err.Error()), " "), "?")
	size := 0
	for at, r := range text {
		switch {
		case r < ' ', strings.ContainsRune("<>&\u2028\u2029", r):
			size += len(`\u003c`)
		case r == '"', r == '\\':
			size += 2
		default:
			size += utf8.RuneLen(r)
		}
		if size > maxWhy {
			return text[:at]
		}
	}
	return text
}

// bury publishes the dead letters of the rows that ClickHouse refused, with
// the original bytes from RAW. It runs before the block counts as proven, so
// RAW still holds them; publishing twice is harmless, since a dead letter's
// identity is its place.
func (s *sink) bury(ctx context.Context, open *bus.Intent) error {
	view := frame.NewView(frame.RawSchema)
	var at bus.Place
	var received time.Time
	for _, x := range open.Excluded {
		place := bus.Place{Shard: x.Shard, Seq: x.Seq}
		if place != at {
			var err error
			if received, err = s.loadRaw(ctx, place, view); err != nil {
				return err
			}
			at = place
		}
		if int(x.Idx) >= view.Rows() {
			return fmt.Errorf("RAW frame %d of shard %d has %d events, event %d was refused by ClickHouse", x.Seq, x.Shard, view.Rows(), x.Idx)
		}
		letter := bus.DeadLetter{
			Incarnation: s.inst.Incarnation, Place: place, Idx: int(x.Idx), Events: 1,
			Source: string(view.Str(frame.RawSource, int(x.Idx))), Stage: stageIndexer, Reason: string(event.ReasonRowRefused),
			Detail: open.Whys[x.Why], Received: received, Original: view.Str(frame.RawBody, int(x.Idx)),
		}
		if err := failpoint.Error(failpoint.IndexerBuryBefore); err != nil {
			return err
		}
		if _, err := s.js.PublishMsg(ctx, letter.Msg(s.names)); err != nil {
			return fmt.Errorf("publish dead letter of frame %d event %d of shard %d: %w", x.Seq, x.Idx, x.Shard, err)
		}
		if err := failpoint.Error(failpoint.IndexerBuryAfter); err != nil {
			return err
		}
	}
	return nil
}

const stageIndexer = "indexer"

func (s *sink) loadRaw(ctx context.Context, place bus.Place, view *frame.View) (time.Time, error) {
	raw, err := s.js.Stream(ctx, s.names.StreamRaw(place.Shard))
	if err != nil {
		return time.Time{}, fmt.Errorf("look up RAW: %w", err)
	}
	msg, err := raw.GetMsg(ctx, place.Seq)
	if err != nil {
		return time.Time{}, fmt.Errorf("read RAW frame %d of shard %d: %w", place.Seq, place.Shard, err)
	}
	native, err := frame.Unpack(nil, msg.Data)
	if err == nil {
		err = view.Parse(native)
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("read RAW frame %d of shard %d: %w", place.Seq, place.Shard, err)
	}
	return msg.Time, nil
}
