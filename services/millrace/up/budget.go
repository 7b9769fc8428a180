package up

import (
	"fmt"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/svc"
)

// Budget says how the bytes that an installation may keep are shared out.
type Budget struct {
	Total   int64
	Streams bus.Sizes
	// ClickHouse is what the tables may take beside full streams. The guard
	// holds the total: ClickHouse has no limit of its own.
	ClickHouse int64
	// Rest is for logs, the ledger, leases and the sizes of file blocks.
	Rest int64
}

// Bounds and shares. The streams hold what is on its way and, while there is
// room, some days of what has arrived; the tables hold everything, at about a
// tenth of the size.
const (
	defaultMaxDisk = 20 << 30
	leastStream    = 16 << 20 // thirty of the largest frames
	leastIn        = 8 << 20  // two of the largest messages
	streamsShare   = 0.40
	smallShare     = 0.05 // of the streams' share, for IN and DEAD each
	restShare      = 0.05
)

// defaultBudget is 20 GiB, or half of the disk that is free or ours already.
func defaultBudget(free, used int64) int64 {
	return min(defaultMaxDisk, (free+used)/2)
}

// share splits total between shards shards of streams and ClickHouse. The
// error says the least that would do.
func share(total int64, shards int) (Budget, error) {
	b := Budget{Total: total}
	if least := leastTotal(shards); total < least {
		return b, fmt.Errorf("--max-disk %s is too small for %d shards: %s is the least", svc.Bytes(total).Short(), shards, svc.Bytes(least))
	}
	streams := float64(total) * streamsShare
	b.Streams.In = max(int64(streams*smallShare), leastIn)
	b.Streams.Dead = max(int64(streams*smallShare), leastIn)
	each := (int64(streams) - b.Streams.In - b.Streams.Dead) / int64(2*shards)
	b.Streams.Raw, b.Streams.Enriched = each, each
	b.Rest = int64(float64(total) * restShare)
	b.ClickHouse = total - b.Streams.Total(shards) - b.Rest
	return b, nil
}

func leastTotal(shards int) int64 {
	streams := float64(2*shards*leastStream+2*leastIn) / (1 - 2*smallShare)
	const mib = 1 << 20
	return (int64(streams/streamsShare)/mib + 1) * mib
}

// fits says whether what the budget still leaves to be written has room on
// the disk.
func (b Budget) fits(dir string, free, used int64) error {
	if b.Total-used <= free {
		return nil
	}
	return fmt.Errorf("--max-disk %s does not fit: %s are free where %s lies and %s in it already; give %s at most, or another --dir",
		svc.Bytes(b.Total).Short(), svc.Bytes(free).Short(), dir, svc.Bytes(used).Short(), svc.Bytes(free+used).Short())
}
