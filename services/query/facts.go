package query

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/event/frame"
)

// What is known of a frame, from four places. Each is read in the order of the frames, so that they can be compared
// with memory that does not grow with the installation.

// rowsOf is what ClickHouse has of a frame.
type rowsOf struct {
	seq      uint64
	rows     uint64
	distinct uint64
	highest  uint32 // index
}

// deadOf counts the events of a frame that are dead letters, in ClickHouse or on the way there.
type deadOf struct {
	seq  uint64
	all  uint64
	late uint64 // of them, rows that ClickHouse had refused
}

// answerOf is what ENRICHED holds of a frame.
type answerOf struct {
	seq     uint64
	verdict frame.Verdict
	frame   string // the id of the RAW frame that it answers
	damage  error  // the headers cannot be read
}

// askedOf is what RAW holds of a frame.
type askedOf struct {
	seq    uint64
	events uint64
	frame  string // its id
}

// chunkRows is how many rows one statement counts: its memory is bounded by it, and so is its result.
const chunkRows = 500_000

// chunks cuts the frames from..to of a shard into ranges of about chunkRows rows of the table. Ranges without rows are
// left out.
func (s *Service) chunks(ctx context.Context, table string, shard int, from, to uint64) iter.Seq2[[2]uint64, error] {
	return func(yield func([2]uint64, error) bool) {
		if _, err := s.eachChunk(ctx, table, shard, from, to, func(c [2]uint64) bool { return yield(c, nil) }); err != nil {
			yield([2]uint64{}, err)
		}
	}
}

func (s *Service) eachChunk(ctx context.Context, table string, shard int, from, to uint64, take func([2]uint64) bool) (more bool, err error) {
	if from > to {
		return true, nil
	}
	const buckets = 20_000
	width := (to-from)/buckets + 1
	type bucket struct{ first, last, rows uint64 }
	var spread []bucket
	params := placeParams(shard, from, to)
	params["width"] = strconv.FormatUint(width, 10)
	err = s.db.Rows(ctx, sqlSpread(table), params, 16, func(row []byte) error {
		b := le64(row) * width
		spread = append(spread, bucket{max(b, from), min(b+width-1, to), le64(row[8:])})
		return nil
	})
	if err != nil {
		return false, err
	}
	var open bucket
	flush := func() bool {
		if open.rows == 0 {
			return true
		}
		c := [2]uint64{open.first, open.last}
		open = bucket{}
		return take(c)
	}
	for _, b := range spread {
		if b.rows > chunkRows && b.last > b.first {
			if !flush() {
				return false, nil
			}
			if more, err := s.eachChunk(ctx, table, shard, b.first, b.last, take); !more || err != nil {
				return more, err
			}
			continue
		}
		if open.rows+b.rows > chunkRows && !flush() {
			return false, nil
		}
		if open.rows == 0 {
			open.first = b.first
		}
		open.last, open.rows = b.last, open.rows+b.rows
	}
	return flush(), nil
}

func placeParams(shard int, from, to uint64) map[string]string {
	return map[string]string{
		"shard": strconv.Itoa(shard), "from": strconv.FormatUint(from, 10), "to": strconv.FormatUint(to, 10),
	}
}

// rowsIn yields what ClickHouse has of the frames 1..to of a shard, frames without rows left out.
func (s *Service) rowsIn(ctx context.Context, shard int, to uint64) iter.Seq2[rowsOf, error] {
	return chunked(ctx, s, tableEvents, shard, to, sqlFrames, 28, func(row []byte) rowsOf {
		return rowsOf{seq: le64(row), rows: le64(row[8:]), distinct: le64(row[16:]), highest: le32(row[24:])}
	})
}

// lettersIn yields the dead letters that ClickHouse has of the frames 1..to of a shard.
func (s *Service) lettersIn(ctx context.Context, shard int, to uint64) iter.Seq2[letter, error] {
	return chunked(ctx, s, tableDead, shard, to, sqlDead, 17, func(row []byte) letter {
		return letter{seq: le64(row), idx: le32(row[8:]), events: le32(row[12:]), late: row[16] != 0}
	})
}

// chunked runs a statement for one chunk of a table after the other. A chunk's result is read at once, so that ClickHouse
// need not wait for whoever compares it.
func chunked[T any](ctx context.Context, s *Service, table string, shard int, to uint64, sql string, size int, decode func([]byte) T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		var chunk []T
		for c, err := range s.chunks(ctx, table, shard, 0, to) {
			chunk = chunk[:0]
			if err == nil {
				err = s.db.Rows(ctx, sql, placeParams(shard, c[0], c[1]), size, func(row []byte) error {
					chunk = append(chunk, decode(row))
					return nil
				})
			}
			if err != nil {
				yield(none, fmt.Errorf("count in table %s: %w", table, err))
				return
			}
			for _, item := range chunk {
				if !yield(item, nil) {
					return
				}
			}
		}
	}
}

// letter is one dead letter without its text.
type letter struct {
	seq    uint64
	idx    uint32
	events uint32
	late   bool
}

func (l letter) less(o letter) bool { return l.seq < o.seq || l.seq == o.seq && l.idx < o.idx }

// deadIn yields the dead letters of the frames 1..to of a shard, counted by frame: those in ClickHouse and those that are
// on the way, each once.
func (s *Service) deadIn(ctx context.Context, shard int, to uint64, onTheWay []letter) iter.Seq2[deadOf, error] {
	return func(yield func(deadOf, error) bool) {
		var sum deadOf
		add := func(l letter) bool {
			if l.seq != sum.seq {
				if sum.all > 0 && !yield(sum, nil) {
					return false
				}
				sum = deadOf{seq: l.seq}
			}
			sum.all += uint64(l.events)
			if l.late {
				sum.late += uint64(l.events)
			}
			return true
		}
		for l, err := range s.lettersIn(ctx, shard, to) {
			if err != nil {
				yield(deadOf{}, err)
				return
			}
			for len(onTheWay) > 0 && onTheWay[0].less(l) {
				if !add(onTheWay[0]) {
					return
				}
				onTheWay = onTheWay[1:]
			}
			if len(onTheWay) > 0 && !l.less(onTheWay[0]) { // the same one
				onTheWay = onTheWay[1:]
			}
			if !add(l) {
				return
			}
		}
		for _, l := range onTheWay {
			if !add(l) {
				return
			}
		}
		if sum.all > 0 {
			yield(sum, nil)
		}
	}
}

// deadOnTheWay lists the dead letters of a shard up to a frame that DEAD holds and that are not acknowledged as being
// in ClickHouse, sorted and each once.
func (s *Service) deadOnTheWay(ctx context.Context, shard int, to uint64) ([]letter, error) {
	floor, last, err := s.deadFloor(ctx)
	if err != nil || floor >= last {
		return nil, err
	}
	var list []letter
	for m, err := range s.messages(ctx, span{stream: s.names.StreamDead(), subject: s.names.DeadOf(shard, "*"), from: floor + 1, to: last}) {
		if err != nil {
			return nil, err
		}
		d, err := bus.ParseDeadLetter(m.header, nil)
		if err != nil || d.Seq > to {
			continue
		}
		list = append(list, letter{seq: d.Seq, idx: uint32(d.Idx), events: uint32(d.Events), late: d.Stage == stageIndexer})
	}
	slices.SortFunc(list, func(a, b letter) int {
		switch {
		case a.less(b):
			return -1
		case b.less(a):
			return 1
		}
		return 0
	})
	return slices.CompactFunc(list, func(a, b letter) bool { return a.seq == b.seq && a.idx == b.idx }), nil
}

// stageIndexer is the stage of dead letters that were rows of a frame until ClickHouse refused them.
const stageIndexer = "indexer"
