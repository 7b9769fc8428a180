package indexer

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/eventdb"
	"github.com/millrace/millrace/libs/failpoint"
)

// place names a row.
type place struct {
	shard uint16
	seq   uint64
	idx   uint32
}

// store is the table as the protocol sees it. It is an interface because the
// protocol is also run against a simulated one that can be killed between any
// two steps.
type store interface {
	// Insert puts the rows of b into the table as one block with a token.
	Insert(ctx context.Context, b *frame.Block, token string) error
	// Probe asks whether the table would take the rows, and stores none.
	Probe(ctx context.Context, b *frame.Block) error
	// Count is the number of rows of all the ranges' frames.
	Count(ctx context.Context, ranges []bus.Range) (uint64, error)
	// Present lists the rows of the ranges' frames.
	Present(ctx context.Context, ranges []bus.Range) (map[place]struct{}, error)
}

// table is the real store: one native connection, redialled after an error.
// One goroutine uses it.
type table struct {
	dial    func(ctx context.Context) (*ch.Client, error)
	timeout time.Duration // of one query; then its outcome is unknown
	client  *ch.Client
	probing bool // the connection has its probe table
}

// connect makes sure that there is a connection.
func (t *table) connect(ctx context.Context) error {
	if t.client != nil && !t.client.IsClosed() {
		return nil
	}
	client, err := t.dial(ctx)
	if err != nil {
		return fmt.Errorf("connect to ClickHouse: %w", unanswered(err))
	}
	t.client, t.probing = client, false
	return nil
}

// do runs a query; any error closes the connection, because its state is then
// unknown.
func (t *table) do(ctx context.Context, q ch.Query) error {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	if err := t.connect(ctx); err != nil {
		return err
	}
	if err := t.client.Do(ctx, q); err != nil {
		t.close()
		return unanswered(err)
	}
	return nil
}

// unanswered marks an error that is not ClickHouse's own word.
func unanswered(err error) error {
	if _, said := eventdb.Code(err); said {
		return err
	}
	return fmt.Errorf("%w: %w", errNoAnswer, err)
}

func (t *table) close() {
	if t.client != nil {
		_ = t.client.Close() // it is closed because it is broken or done with
		t.client = nil
	}
}

const probeTable = "millrace_probe"

func setting(key, value string) ch.Setting {
	return ch.Setting{Key: key, Value: value, Important: true}
}

func (t *table) Insert(ctx context.Context, b *frame.Block, token string) error {
	if err := failpoint.Error(failpoint.IndexerInsertBefore); err != nil {
		return err
	}
	err := t.do(ctx, ch.Query{
		Body:  eventdb.InsertEvents(),
		Input: eventdb.Input(b),
		Settings: []ch.Setting{
			setting("insert_deduplication_token", token),
		},
	})
	if err != nil {
		return fmt.Errorf("insert %d rows: %w", b.Rows(), err)
	}
	return failpoint.Error(failpoint.IndexerInsertAfter)
}

func (t *table) Probe(ctx context.Context, b *frame.Block) error {
	// A temporary table of this connection, with the columns, defaults and
	// constraints that the table has now, and no storage.
	if err := t.connect(ctx); err != nil {
		return err
	}
	if !t.probing {
		if err := t.do(ctx, ch.Query{Body: "CREATE TEMPORARY TABLE " + probeTable + " AS " + eventdb.Table + " ENGINE = Null"}); err != nil {
			return fmt.Errorf("create the probe table: %w", err)
		}
		t.probing = true
	}
	if err := failpoint.Error(failpoint.IndexerProbeBefore); err != nil {
		return err
	}
	err := t.do(ctx, ch.Query{
		Body:  eventdb.InsertInto(probeTable),
		Input: eventdb.Input(b),
	})
	if err != nil {
		return fmt.Errorf("probe %d rows: %w", b.Rows(), err)
	}
	return failpoint.Error(failpoint.IndexerProbeAfter)
}

// where asks for all ranges in one query, so that the answer is of one moment.
func where(ranges []bus.Range) string {
	text := []byte(" FROM " + eventdb.Table + " WHERE ")
	for i, r := range ranges {
		if i > 0 {
			text = append(text, " OR "...)
		}
		text = fmt.Appendf(text, "(_shard = %d AND _seq BETWEEN %d AND %d)", r.Shard, r.First, r.Last)
	}
	return string(text)
}

func (t *table) Count(ctx context.Context, ranges []bus.Range) (uint64, error) {
	var n proto.ColUInt64
	err := t.do(ctx, ch.Query{
		Body:   "SELECT count() AS n" + where(ranges),
		Result: proto.Results{{Name: "n", Data: &n}},
	})
	if err != nil {
		return 0, fmt.Errorf("count the rows of a block: %w", err)
	}
	return n.Row(0), nil
}

func (t *table) Present(ctx context.Context, ranges []bus.Range) (map[place]struct{}, error) {
	var shards proto.ColUInt16
	var seqs proto.ColUInt64
	var idxs proto.ColUInt32
	found := map[place]struct{}{}
	if err := failpoint.Error(failpoint.IndexerListBefore); err != nil {
		return nil, err
	}
	err := t.do(ctx, ch.Query{
		Body:   "SELECT _shard, _seq, _idx" + where(ranges),
		Result: proto.Results{{Name: "_shard", Data: &shards}, {Name: "_seq", Data: &seqs}, {Name: "_idx", Data: &idxs}},
		OnResult: func(context.Context, proto.Block) error {
			for i := range seqs.Rows() {
				found[place{shards.Row(i), seqs.Row(i), idxs.Row(i)}] = struct{}{}
			}
			return nil
		},
	})
	if err != nil {
		return nil, fmt.Errorf("list the rows of a block: %w", err)
	}
	return found, failpoint.Error(failpoint.IndexerListAfter)
}

// Beyond is the highest frame of a shard after seq that has a row, 0 for none.
func (t *table) Beyond(ctx context.Context, shard int, seq uint64) (uint64, error) {
	var last proto.ColUInt64
	err := t.do(ctx, ch.Query{
		Body: "SELECT max(_seq) AS last FROM " + eventdb.Table + " WHERE _shard = " + strconv.Itoa(shard) +
			" AND _seq > " + strconv.FormatUint(seq, 10),
		Result: proto.Results{{Name: "last", Data: &last}},
	})
	if err != nil {
		return 0, fmt.Errorf("look for rows after frame %d: %w", seq, err)
	}
	return last.Row(0), nil
}
