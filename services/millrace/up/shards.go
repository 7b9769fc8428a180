package up

import (
	"runtime"

	"github.com/millrace/millrace/libs/bus"
)

// defaultShards is the number of shards of a new installation in one process.
// A shard is what one goroutine of the enricher works on, at 1.7 µs an event
// (BenchmarkEnrichFrame), so more of them than cores only cost: two streams each, with blocks
// of 8 MB in memory, and smaller frames.
func defaultShards() int {
	return min(bus.DefaultShards, runtime.GOMAXPROCS(0))
}
