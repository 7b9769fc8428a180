package recovery

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/eventdb"
)

// Rows are sent with so many tokens, and so often in all, before it is given up;
// the pauses after errors grow up to the longest.
const (
	insertTokens   = 5
	insertSends    = 10
	firstPause     = 250 * time.Millisecond
	longestPause   = 10 * time.Second
	lettersOfBatch = 500
	bytesOfBatch   = 16 << 20 // of dead letters, beyond the first
)

// insert brings rows in that are not there, and looks that they are. Another
// run after a kill sends the same rows with the same token, so that one of the
// two is dropped if the first is still under way; and so does another attempt
// after an error, whose insert may still be. Only a token that ClickHouse took
// without its rows is followed by another one.
func (t *table) insert(ctx context.Context, incarnation uint64, shard int, rows *frame.Block, from, to uint64) error {
	want := rows.Rows()
	if want == 0 {
		return nil
	}
	view := frame.NewView(frame.RowSchema)
	native := rows.AppendNative(nil)
	if err := view.Parse(native); err != nil {
		return err
	}
	sum := sha256.New()
	for r := range view.Rows() {
		var b [12]byte
		binary.LittleEndian.PutUint64(b[:], view.U64(frame.ColSeq, r))
		binary.LittleEndian.PutUint32(b[8:], view.U32(frame.ColIdx, r))
		_, _ = sum.Write(b[:]) // never fails
	}
	token := fmt.Sprintf("recover:%d:%d:%x:", incarnation, shard, sum.Sum(nil)[:12])
	var last error
	tokens, pause := 0, firstPause
	for sends := 0; ; sends++ {
		have, err := t.rowsOf(ctx, shard, from, to)
		if err != nil {
			return err
		}
		missing := frame.NewBlock(frame.RowSchema)
		for r := range view.Rows() {
			if _, ok := have[view.U64(frame.ColSeq, r)][view.U32(frame.ColIdx, r)]; !ok {
				missing.AppendRow(view, r)
			}
		}
		switch where := fmt.Sprintf("shard %d, frames %d to %d", shard, from, to); {
		case missing.Rows() == 0:
			return nil
		case last != nil && eventdb.Classify(last) == eventdb.Content:
			return fmt.Errorf("%w: %s: %w", ErrRefused, where, last)
		case last != nil && sends >= insertSends:
			return fmt.Errorf("%w: %s: %w", ErrInserts, where, last)
		case tokens == insertTokens || sends >= insertSends:
			return fmt.Errorf("%w: %s: it took them %d times, and has %d of %d", ErrInserts, where, tokens, want-missing.Rows(), want)
		}
		if last != nil {
			if err := wait(ctx, pause); err != nil {
				return err
			}
			pause = min(2*pause, longestPause)
		}
		if last = t.send(ctx, missing, token+strconv.Itoa(tokens)); last == nil {
			tokens++
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *table) send(ctx context.Context, b *frame.Block, token string) error {
	ctx, cancel := context.WithTimeout(ctx, t.patience)
	defer cancel()
	client, err := eventdb.Dial(ctx, t.cfg)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }() // the answer has been read
	return client.Do(ctx, ch.Query{
		Body: eventdb.InsertEvents(), Input: eventdb.Input(b),
		Settings: []ch.Setting{{Key: "insert_deduplication_token", Value: token, Important: true}},
	})
}

// bury inserts dead letters; a place is kept once, so doing it again is
// harmless.
func (t *table) bury(ctx context.Context, letters []bus.DeadLetter) error {
	for len(letters) > 0 {
		n, size := 0, 0
		for n < min(len(letters), lettersOfBatch) && (n == 0 || size+len(letters[n].Original) <= bytesOfBatch) {
			size += len(letters[n].Original)
			n++
		}
		chunk := letters[:n]
		letters = letters[n:]
		batch, err := t.conn.PrepareBatch(ctx, "INSERT INTO "+deadTable+" (_incarnation, _shard, _seq, _idx, retry, events, source, stage, reason, detail, original, received_at)")
		if err != nil {
			return fmt.Errorf("insert dead letters: %w", err)
		}
		for _, d := range chunk {
			if err := batch.Append(d.Incarnation, uint16(d.Shard), d.Seq, uint32(d.Idx), uint16(0), uint32(max(d.Events, 1)), d.Source, d.Stage,
				d.Reason, strings.ToValidUTF8(d.Detail, "?"), string(d.Original), d.Received); err != nil {
				return fmt.Errorf("insert dead letters: %w", err)
			}
		}
		if err := batch.Send(); err != nil {
			return fmt.Errorf("insert %d dead letters: %w", len(chunk), err)
		}
	}
	return nil
}
