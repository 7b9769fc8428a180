package live

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/millrace/millrace/libs/bus"
)

// ErrPosition is in the error of a Last-Event-ID or after that cannot be read.
var ErrPosition = errors.New("bad position")

// mark is how far a reader is in one shard: it has all of the frames before seq, and of frame seq the rows up to idx.
type mark struct {
	seq uint64
	idx uint32 // whole: all of them
}

const whole = math.MaxUint32

// next is the first row that is not covered.
func (m mark) next() (seq uint64, idx uint32) {
	if m.idx == whole {
		return m.seq + 1, 0
	}
	return m.seq, m.idx + 1
}

// position is how far a reader is, by shard: the id of a server-sent event. As text it is a receipt, in which a frame that
// was not read to its end has the last row that was: `0:41,1:977.3`. The receipt of an event is a position too.
type position []mark

// parsePosition reads the text of a position. Shards that it does not name are nowhere: the caller decides.
func parsePosition(text string, shards int) (position, []bool, error) {
	p, named := make(position, shards), make([]bool, shards)
	if text == "" {
		return p, named, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		lane, rest, ok := strings.Cut(part, ":")
		frame, idx, inside := strings.Cut(rest, ".")
		shard, err := strconv.Atoi(lane)
		seq, err2 := strconv.ParseUint(frame, 10, 64)
		m := mark{seq: seq, idx: whole}
		var err3 error
		if inside {
			var n uint64
			n, err3 = strconv.ParseUint(idx, 10, 31)
			m.idx = uint32(n)
		}
		switch {
		case !ok || err != nil || err2 != nil || err3 != nil || seq >= math.MaxInt64:
			return nil, nil, fmt.Errorf("%w %q: want shard:sequence pairs joined by commas: a receipt, or the id of an event of this stream", ErrPosition, text)
		case shard < 0 || shard >= shards:
			return nil, nil, fmt.Errorf("%w %q: there are %d shards", ErrPosition, text, shards)
		case named[shard]:
			return nil, nil, fmt.Errorf("%w %q: shard %d is named twice", ErrPosition, text, shard)
		}
		p[shard], named[shard] = m, true
	}
	return p, named, nil
}

// append writes the text of the position.
func (p position) append(dst []byte) []byte {
	for shard, m := range p {
		if shard > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(dst, int64(shard), 10)
		dst = append(dst, ':')
		dst = strconv.AppendUint(dst, m.seq, 10)
		if m.idx != whole {
			dst = append(dst, '.')
			dst = strconv.AppendUint(dst, uint64(m.idx), 10)
		}
	}
	return dst
}

// String is the text of the position.
func (p position) String() string { return string(p.append(nil)) }

// receipt is where a subscription begins: behind the frames that are read to their end.
func (p position) receipt() bus.Receipt {
	var r bus.Receipt
	for shard, m := range p {
		seq, _ := m.next()
		r.Places = append(r.Places, bus.Place{Shard: shard, Seq: seq - 1})
	}
	return r
}
