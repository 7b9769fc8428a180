package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/localdb"
)

// trace tells the way of an event through the stages: where the logs hold it,
// what was decided there, and what became of its frame.
func (l *lab) trace(ctx context.Context, s *suspect) string {
	var b strings.Builder
	id := fmt.Sprintf("%s-%d", s.p.name, s.n)
	should := "a row"
	if lettered(s.n, s.p.during(s.n)) {
		should = "a dead letter"
	}
	fmt.Fprintf(&b, "the first wrong event: %s, made during %s, should be %s once and is it %d times; its way:\n", id, s.p.during(s.n), should, s.times)
	js, done, err := l.jetStream()
	if err != nil {
		return b.String() + err.Error()
	}
	defer done()
	found := 0
	for shard := range 4 {
		err := l.eachFrame(ctx, js, l.names().StreamRaw(shard), func(m *jetstream.RawStreamMsg) {
			native, err := frame.Unpack(nil, m.Data)
			if err != nil || !bytes.Contains(native, []byte(`"`+id+`"`)) {
				return
			}
			found++
			fmt.Fprintf(&b, "  RAW_%d at %d, stored %s, frame %s\n", shard, m.Sequence, m.Time.Format("15:04:05.000"), m.Header.Get(bus.HeaderFrame))
			l.traceFrame(ctx, js, &b, shard, m.Sequence)
		})
		if err != nil {
			fmt.Fprintf(&b, "  RAW_%d cannot be read: %v\n", shard, err)
		}
	}
	if found == 0 {
		b.WriteString("  in no RAW stream\n")
	}
	l.traceTables(ctx, &b, id)
	return b.String()
}

// traceTables tells where ClickHouse has the event, whatever the logs say.
func (l *lab) traceTables(ctx context.Context, b *strings.Builder, id string) {
	conn, err := l.db.open(localdb.ReaderUser)
	if err != nil {
		fmt.Fprintf(b, "  ClickHouse: %v\n", err)
		return
	}
	defer func() { _ = conn.Close() }() // all has been answered
	rows, err := conn.Query(ctx, `SELECT concat('row of frame ', _shard, ':', _seq, ', event ', _idx, ', received ', received_at, ', part ', _part) FROM events WHERE event_id = $1
		UNION ALL SELECT concat('dead letter of frame ', _shard, ':', _seq, ', event ', _idx, ', life ', _incarnation, ', by the ', stage, ', received ', received_at,
			', refused ', refused_at, ': ', detail) FROM dead_letters_log WHERE JSONExtractString(original, 'messageId') = $1`, id)
	if err != nil {
		fmt.Fprintf(b, "  ClickHouse: %v\n", err)
		return
	}
	defer func() { _ = rows.Close() }() // Err below has the error
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			fmt.Fprintf(b, "  ClickHouse: %v\n", err)
			return
		}
		fmt.Fprintf(b, "  ClickHouse: %s\n", text)
	}
	if err := rows.Err(); err != nil {
		fmt.Fprintf(b, "  ClickHouse: %v\n", err)
	}
}

// traceFrame tells what became of one frame.
func (l *lab) traceFrame(ctx context.Context, js jetstream.JetStream, b *strings.Builder, shard int, seq uint64) {
	enriched, err := js.Stream(ctx, l.names().StreamEnriched(shard))
	if err == nil {
		var m *jetstream.RawStreamMsg
		if m, err = enriched.GetMsg(ctx, seq); err == nil {
			var v frame.Verdict
			err = frame.Decode(m.Header.Get(bus.HeaderVerdict), &v)
			fmt.Fprintf(b, "    ENRICHED_%d at %d, stored %s: %+v\n", shard, seq, m.Time.Format("15:04:05.000"), v)
		}
	}
	if err != nil {
		fmt.Fprintf(b, "    ENRICHED_%d at %d: %v\n", shard, seq, err)
	}
	ledger, err := js.Stream(ctx, l.names().StreamLedger())
	if err == nil {
		err = l.eachFrame(ctx, js, l.names().StreamLedger(), func(m *jetstream.RawStreamMsg) {
			rec, err := bus.DecodeRecord(m.Data)
			if err != nil {
				return
			}
			if open := rec.Share(shard).Open; open != nil && open.First <= seq && seq <= open.Last {
				fmt.Fprintf(b, "    LEDGER at %d, %s by %s: %+v, attempt %d\n", m.Sequence, rec.At.Format("15:04:05.000"), rec.Owner, *open, rec.Open.Attempt)
			}
		})
	}
	if err != nil || ledger == nil {
		fmt.Fprintf(b, "    LEDGER: %v\n", err)
	}
	rows, err := l.db.number(ctx, "SELECT count() FROM events WHERE _shard = ? AND _seq = ?", shard, seq)
	fmt.Fprintf(b, "    ClickHouse has %d rows of the frame (error: %v)\n", rows, err)
}

// eachFrame reads a stream from its first message to its last.
func (l *lab) eachFrame(ctx context.Context, js jetstream.JetStream, name string, do func(*jetstream.RawStreamMsg)) error {
	s, err := js.Stream(ctx, name)
	if err != nil {
		return err
	}
	state := s.CachedInfo().State
	for seq := state.FirstSeq; seq <= state.LastSeq; seq++ {
		m, err := s.GetMsg(ctx, seq)
		if err != nil {
			continue // deleted, or trimmed meanwhile
		}
		do(m)
	}
	return nil
}
