package bus

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// Place is a sequence in a shard's RAW stream, and in everything made of it.
type Place struct {
	Shard int
	Seq   uint64
}

// Receipt names the frames that hold a request's events: at most one place a
// shard, the last one. Its text is `shard:seq,shard:seq`, ascending by shard.
// `in:<seq>` names a place in the IN stream instead.
type Receipt struct {
	Places []Place
	In     uint64 // 0 unless the receipt names a place in IN
}

// Add makes the receipt cover a place.
func (r *Receipt) Add(p Place) {
	i := sort.Search(len(r.Places), func(i int) bool { return r.Places[i].Shard >= p.Shard })
	if i < len(r.Places) && r.Places[i].Shard == p.Shard {
		r.Places[i].Seq = max(r.Places[i].Seq, p.Seq)
		return
	}
	r.Places = append(r.Places, Place{})
	copy(r.Places[i+1:], r.Places[i:])
	r.Places[i] = p
}

// String is the text of the receipt; "" when it covers nothing.
func (r Receipt) String() string {
	if r.In != 0 {
		return "in:" + strconv.FormatUint(r.In, 10)
	}
	var b strings.Builder
	for i, p := range r.Places {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%d:%d", p.Shard, p.Seq)
	}
	return b.String()
}

// ParseReceipt reads the text of a receipt. Shards must be below shards.
func ParseReceipt(text string, shards int) (Receipt, error) {
	var r Receipt
	if text == "" {
		return r, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		lane, seq, ok := strings.Cut(part, ":")
		n, err := strconv.ParseUint(seq, 10, 64)
		if !ok || err != nil || n == 0 {
			return Receipt{}, fmt.Errorf("receipt %q: want shard:sequence pairs joined by commas, or in:<sequence>", text)
		}
		if lane == "in" {
			r.In = max(r.In, n)
			continue
		}
		s, err := strconv.Atoi(lane)
		if err != nil || s < 0 || s >= shards {
			return Receipt{}, fmt.Errorf("receipt %q: %q is not one of the %d shards", text, lane, shards)
		}
		r.Add(Place{Shard: s, Seq: n})
	}
	return r, nil
}
