package indexer

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/eventdb"
)

func isContent(err error) bool { return eventdb.Classify(err) == eventdb.Content }

// whyText is the part of ClickHouse's error that a person needs.
func whyText(err error) string {
	text := strings.ToValidUTF8(strings.Join(strings.Fields(err.Error()), " "), "?")
	for len(text) > maxWhy {
		_, n := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-n]
	}
	return text
}

// bury publishes the dead letters of the rows that ClickHouse refused, with
// the original bytes from RAW. It runs before the block counts as proven, so
// RAW still holds them; publishing twice is harmless, since a dead letter's
// identity is its place.
func (s *shard) bury(ctx context.Context, open *bus.Intent) error {
	if len(open.Excluded) == 0 {
		return nil
	}
	raw, err := s.js.Stream(ctx, s.names.StreamRaw(s.id))
	if err != nil {
		return fmt.Errorf("look up RAW: %w", err)
	}
	view := frame.NewView(frame.RawSchema)
	var at uint64
	var received time.Time
	for _, x := range open.Excluded {
		if x.Seq != at {
			if received, err = loadRaw(ctx, raw, x.Seq, view); err != nil {
				return err
			}
			at = x.Seq
		}
		if int(x.Idx) >= view.Rows() {
			return fmt.Errorf("RAW frame %d has %d events, event %d was refused by ClickHouse", x.Seq, view.Rows(), x.Idx)
		}
		letter := bus.DeadLetter{
			Incarnation: s.inst.Incarnation, Place: bus.Place{Shard: s.id, Seq: x.Seq}, Idx: int(x.Idx), Events: 1,
			Source: string(view.Str(frame.RawSource, int(x.Idx))), Stage: stageIndexer, Reason: string(event.ReasonRowRefused),
			Detail: open.Whys[x.Why], Received: received, Original: view.Str(frame.RawBody, int(x.Idx)),
		}
		if _, err := s.js.PublishMsg(ctx, letter.Msg(s.names)); err != nil {
			return fmt.Errorf("publish dead letter of frame %d event %d: %w", x.Seq, x.Idx, err)
		}
	}
	return nil
}

const stageIndexer = "indexer"

func loadRaw(ctx context.Context, raw jetstream.Stream, seq uint64, view *frame.View) (time.Time, error) {
	msg, err := raw.GetMsg(ctx, seq)
	if err != nil {
		return time.Time{}, fmt.Errorf("read RAW frame %d: %w", seq, err)
	}
	native, err := frame.Unpack(nil, msg.Data)
	if err == nil {
		err = view.Parse(native)
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("read RAW frame %d: %w", seq, err)
	}
	return msg.Time, nil
}
