package up

import (
	"os"
	"runtime/debug"
)

// gcPercent is how much this process may allocate between two garbage
// collections, in percent of what it uses. What it uses are a few large buffers
// without pointers, which are quick to mark: half of Go's default takes a fifth
// less memory at full speed and costs no CPU that could be measured (`make
// bench BENCH=way-nats` with GOGC=100 and 50: 6.9 and 7.0 CPU-seconds per
// million events).
const gcPercent = 50

// boundGarbage sets it, unless whoever started the process has.
func boundGarbage() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
