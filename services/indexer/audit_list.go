package indexer

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/eventdb"
	"github.com/millrace/millrace/libs/failpoint"
)

const (
	// auditRecords and auditTime bound what is counted: the youngest records of
	// the ledger, so many a sink, and of them those that are not older than the
	// last that counts. What is older has long been written to disk.
	auditRecords = 2000
	auditTime    = time.Hour
	// auditSkew is by how much the clocks of NATS and of ClickHouse may differ.
	auditSkew = time.Minute
	// One question is of so many ranges and rows at most.
	askRanges = 2000
	askRows   = 10_000_000
)

// audited is a range that one record has proven: Totals.Rows is how many rows
// there should be, without those that were left out of it.
type audited struct {
	bus.Range
	excluded []bus.Exclusion
	at       time.Time // the block was announced, by NATS's clock; it came in later
	have     uint64    // rows in ClickHouse
}

func (x *audited) name() string { return fmt.Sprintf("%d:%d-%d", x.Shard, x.First, x.Last) }

// newest is the sink's newest record, which must be of this owner.
func (s *sink) newest(ctx context.Context) (bus.Record, error) {
	rec, _, err := bus.LedgerLast(ctx, s.ledger, s.names, s.id)
	if err == nil && rec.Owner != s.cfg.Instance {
		err = fmt.Errorf("%w: sink %d", bus.ErrFenced, s.id)
	}
	return rec, err
}

// between is what the records after the one at revision from have proven, up to
// newest, in order.
func (s *sink) between(ctx context.Context, from uint64, newest *bus.Record) ([]audited, error) {
	consumer, err := s.js.OrderedConsumer(ctx, s.names.StreamLedger(), jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from, FilterSubjects: []string{s.names.Ledger(s.id)},
		MaxResetAttempts: 1,
	})
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	msgs, err := consumer.Messages(jetstream.PullMaxMessages(500))
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	defer msgs.Stop()
	var list []audited
	var last *bus.Record
	var lastAt time.Time
	for {
		next, cancel := context.WithTimeout(ctx, rereadPatience)
		msg, err := msgs.Next(jetstream.NextContext(next))
		cancel()
		if err != nil {
			return nil, fmt.Errorf("read the ledger: %w", err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return nil, fmt.Errorf("read the ledger: %w", err)
		}
		rec, err := bus.DecodeRecord(msg.Data())
		if err != nil {
			return nil, err
		}
		rec.Revision = meta.Sequence.Stream
		if last != nil && rec.Recovered == nil && rec.Incarnation == newest.Incarnation {
			list = proved(list, last, &rec, lastAt)
		}
		last, lastAt = &rec, meta.Timestamp
		if rec.Revision >= newest.Revision {
			return list, nil
		}
	}
}

// proved adds what a record has proven since the one before it, of the time at.
func proved(list []audited, before, rec *bus.Record, at time.Time) []audited {
	for _, p := range rec.Shards {
		was := before.Share(p.Shard)
		if p.Proven <= was.Proven {
			continue
		}
		x := audited{excluded: was.Excluded, at: at}
		x.Shard, x.First, x.Last = p.Shard, was.Proven+1, p.Proven
		x.Totals.Rows = p.Totals.Rows - min(was.Totals.Rows, p.Totals.Rows)
		list = append(list, x)
	}
	return list
}

// announced is what was announced until a time, and not long before the last
// that was: a block that was announced after ClickHouse was started has come in
// after that, and an outage takes no time away. A clock that was wrong for a
// while is outvoted by the records around it.
func announced(list []audited, until time.Time) []audited {
	for len(list) > 0 && list[len(list)-1].at.After(until) {
		list = list[:len(list)-1]
	}
	for len(list) > 0 && list[len(list)-1].at.Sub(list[0].at) > auditTime {
		list = list[1:]
	}
	return list
}

// questions are the ranges of a shard in portions that ClickHouse counts soon.
func questions(list []audited, shard int) iter.Seq[[]audited] {
	return func(yield func([]audited) bool) {
		var part []audited
		rows := uint64(0)
		for i := range list {
			if list[i].Shard != shard {
				continue
			}
			if len(part) == askRanges || rows >= askRows {
				if !yield(part) {
					return
				}
				part, rows = nil, 0
			}
			part = append(part, list[i])
			rows += list[i].Totals.Rows
		}
		if len(part) > 0 {
			yield(part)
		}
	}
}

// spans are ranges of one shard in order, neighbours joined, so that the
// question is short.
func spans(list []audited) []bus.Range {
	var all []bus.Range
	for i := range list {
		if n := len(all); n > 0 && all[n-1].Last+1 == list[i].First {
			all[n-1].Last = list[i].Last
			continue
		}
		all = append(all, bus.Range{Shard: list[i].Shard, First: list[i].First, Last: list[i].Last})
	}
	return all
}

// Started is when the server was started.
func (t *table) Started(ctx context.Context) (start, error) {
	var at, up proto.ColUInt64
	err := t.do(ctx, ch.Query{
		Body:   "SELECT toUInt64(toUnixTimestamp(now()) - uptime()) AS at, toUInt64(uptime()) AS up",
		Result: proto.Results{{Name: "at", Data: &at}, {Name: "up", Data: &up}},
	})
	if err != nil {
		return start{}, fmt.Errorf("ask when ClickHouse was started: %w", err)
	}
	s := start{at: at.Row(0), up: time.Duration(up.Row(0)) * time.Second}
	s.began = time.Unix(int64(s.at), 0)
	if ours := failpoint.Now().Add(-s.up); ours.After(s.began) {
		s.began = ours
	}
	return s, nil
}

// Engine is the table's.
func (t *table) Engine(ctx context.Context) (string, error) {
	var engine proto.ColStr
	err := t.do(ctx, ch.Query{
		Body:   "SELECT engine FROM system.tables WHERE database = currentDatabase() AND name = '" + eventdb.Table + "'",
		Result: proto.Results{{Name: "engine", Data: &engine}},
	})
	if err == nil && engine.Rows() != 1 {
		err = fmt.Errorf("%d tables of that name; run `millrace migrate`", engine.Rows())
	}
	if err != nil {
		return "", fmt.Errorf("ask for the engine of %s: %w", eventdb.Table, err)
	}
	return engine.Row(0), nil
}

// replicated says of an engine that several servers answer for its table.
func replicated(engine string) bool {
	return strings.HasPrefix(engine, "Replicated") || strings.HasPrefix(engine, "Shared")
}

// CountEach is the number of rows of each of the ranges of one shard, which are
// in order, by the first frame. One without rows is left out.
func (t *table) CountEach(ctx context.Context, list []audited) (map[uint64]uint64, error) {
	var firsts, counts proto.ColUInt64
	found := map[uint64]uint64{}
	body := []byte("SELECT toUInt64(roundDown(_seq, [")
	for i := range list {
		if i > 0 {
			body = append(body, ',')
		}
		body = fmt.Append(body, list[i].First)
	}
	body = append(body, "])) AS first, count() AS n"+where(spans(list))+" GROUP BY first"...)
	err := t.do(ctx, ch.Query{
		Body:   string(body),
		Result: proto.Results{{Name: "first", Data: &firsts}, {Name: "n", Data: &counts}},
		OnResult: func(context.Context, proto.Block) error {
			for i := range firsts.Rows() {
				found[firsts.Row(i)] = counts.Row(i)
			}
			return nil
		},
	})
	if err != nil {
		return nil, fmt.Errorf("count rows of %s by range: %w", eventdb.Table, err)
	}
	return found, nil
}
