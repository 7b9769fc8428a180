package query

import (
	"context"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/millrace/millrace/libs/bus"
)

// maxExact is how many frames of a gap are counted one by one; what is beyond is estimated from them.
const maxExact = 5000

// gap is what lies in RAW beyond a sequence.
type gap struct {
	events    uint64    // in all of it
	enriched  uint64    // of them, in frames that the enricher has answered
	oldest    time.Time // when its first frame was stored
	estimated bool
}

// countGap counts the events of the frames from..to of a shard's RAW stream by their headers.
func (s *Service) countGap(ctx context.Context, shard int, from, to, enriched uint64) (gap, error) {
	var g gap
	if from > to {
		return g, nil
	}
	last := min(to, from+maxExact-1)
	for m, err := range s.messages(ctx, span{stream: s.names.StreamRaw(shard), from: from, to: last}) {
		if err != nil {
			return gap{}, err
		}
		if g.oldest.IsZero() {
			g.oldest = m.at
		}
		n := eventsOf(m.header)
		g.events += n
		if m.seq <= enriched {
			g.enriched += n
		}
	}
	if last < to {
		g.estimated = true
		each := float64(g.events) / float64(last-from+1)
		g.events += uint64(each * float64(to-last))
		if enriched > last {
			g.enriched += uint64(each * float64(enriched-last))
		}
	}
	return g, nil
}

// eventsOf is the number of events that a frame's header states, which holds even if the frame itself cannot be read. A
// message that states none is somebody else's: the enricher counts it as one event, undecodable, and so does this.
func eventsOf(h nats.Header) uint64 {
	n, err := strconv.ParseUint(h.Get(bus.HeaderEvents), 10, 32)
	if err != nil {
		return 1
	}
	return n
}
